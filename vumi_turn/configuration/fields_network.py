"""Types of options that name something in a network: URLs, and where to listen."""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Any
from urllib.parse import urlsplit

import idna
from twisted.internet.endpoints import serverFromString

from .fields_plain import MASK, ConfigList
from .fields_text import ConfigText


class ConfigUrl(ConfigText):
    """An http or https URL."""

    field_type = "URL"
    expected = "an http(s) URL"

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            parts = urlsplit(text)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            good = False
        if not good or re.search(r"[\s\x00-\x20\x7f]", text):
            without_password = re.sub(r"[^/]*@", f"{MASK}@", text)
            self.refuse(without_password, "an http(s) URL, as https://whatsapp.turn.io/v1/numbers/<uuid>")
        if "@" in parts.netloc:
            self.wrong("must not hold a user name or password")
        if "?" in text or "#" in text:
            self.wrong("must have no query and no fragment: paths are put after it")
        if not _is_host(parts.hostname or "", bracketed="[" in parts.netloc):
            self.wrong(
                f"names the host {parts.hostname!r}, which cannot be looked up: "
                "letters, digits, hyphens and dots are expected, or an IP address"
            )
        return parts._replace(scheme=parts.scheme.lower()).geturl().rstrip("/")


#: More host names than these are a mistake.
MOST_NAMES = 20

#: A host name, without port and path.
# Compiled where it is used first, and kept by re.
_NAME = r"(?i)(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*"


class ConfigHostNames(ConfigList):
    """Host names, without scheme, port and path."""

    field_type = "list of host names"

    def clean(self, value: Any) -> list[Any]:
        names = super().clean(value)
        if len(names) > MOST_NAMES:
            self.wrong(f"must have at most {MOST_NAMES} names, not {len(names)}")
        for name in names:
            if not isinstance(name, str) or len(name) > 253 or not re.fullmatch(_NAME, name):
                self.refuse(name, "a list of host names without scheme, port and path, as page.example.org")
        return [name.lower() for name in names]


def _is_host(host: str, bracketed: bool) -> bool:
    """Whether this is an IP address or a name that can be looked up; brackets hold IPv6 only."""
    if bracketed:
        return _is_ipv6(host)
    try:
        idna.encode(host, uts46=True)
    except UnicodeError:  # idna's errors are of this class
        return False
    return True


def _is_ipv6(host: str) -> bool:
    try:
        return isinstance(ip_address(host), IPv6Address) and "%" not in host
    except ValueError:
        return False


class ConfigUrlPath(ConfigText):
    """The path of a URL that we are asked for; it may be empty."""

    field_type = "path"

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if text and (not text.startswith("/") or re.search(r"[\s\x00-\x20\x7f?#<>%]", text)):
            self.refuse(text, "a plain path that starts with a slash, as /turn")
        return text


_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^:\[\]/\s]*):(?P<port>[0-9]{1,5})")
_PORT_OF_ENDPOINT = re.compile(r"(?:^(?:tcp6?|ssl):|:port=)(?P<port>[0-9]+)")
_ENDPOINT_KINDS = ("tcp", "tcp6", "ssl", "unix", "systemd", "haproxy", "tls", "onion", "fd")


class ConfigServerEndpoint(ConfigText):
    """
    Where to listen: ``host:port``, ``[::1]:port`` or a Twisted server
    endpoint. Gives the endpoint's description.
    """

    field_type = "host:port"
    expected = "host:port, [::1]:port or a Twisted server endpoint"

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        kind, _, rest = text.partition(":")
        found = _HOST_AND_PORT.fullmatch(text)
        if found is not None and kind not in _ENDPOINT_KINDS:
            return self._address(text, found["host"], int(found["port"]))
        if not rest or re.match(r"(tcp6?|ssl):-", text):
            self.refuse(text, self.expected)
        for port in _PORT_OF_ENDPOINT.findall(text):
            self._check_port(text, int(port))
        if kind == "systemd":  # what it hands over is seen by the process it has started only
            return text
        try:
            serverFromString(None, text)  # the reactor is wanted when it listens, not before
        except Exception as error:  # each kind of endpoint reads its part, and may raise anything
            self.refuse(text, self.expected, str(error).split("\n")[0] or type(error).__name__)
        return text

    def _check_port(self, value: str, port: int) -> None:
        if port > 65535:
            self.refuse(value, f"{self.expected}, with a port up to 65535")

    def _address(self, value: str, host: str, port: int) -> str:
        self._check_port(value, port)
        if host.startswith("["):
            if not _is_ipv6(host[1:-1]):
                self.refuse(value, self.expected)
            escaped = host[1:-1].replace(":", "\\:")
            return f"tcp6:{port}:interface={escaped}"
        return f"tcp:{port}:interface={host}" if host else f"tcp:{port}"
