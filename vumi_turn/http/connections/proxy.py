"""
HTTP proxies, as ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
``NO_PROXY`` name them.

There is no standard for these variables. Where curl, Python's urllib and httpx
agree it is as they do: lower-case names come before upper-case ones, an empty
value is none, a value without a scheme means ``http://``.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Mapping, Optional, Union
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


class ProxyConfigurationError(ValueError):
    """A proxy variable cannot be used; the text names it, and shows no credentials."""


@dataclass(frozen=True)
class Proxy:
    """
    :ivar scheme: how the proxy itself is spoken to, ``http`` or ``https``.
    :ivar authorization: the value of ``Proxy-Authorization``, if it wants one.
    """

    scheme: str
    host: str
    port: int
    authorization: Optional[bytes] = field(default=None, repr=False)

    def shown(self) -> str:
        """Its URL, without credentials."""
        return f"{self.scheme}://{bracketed(self.host)}:{self.port}"


class ProxySettings:
    """
    Which proxy serves which URL.

    :param proxies: by the scheme of the URL that is asked for.
    :param exceptions: a value of ``NO_PROXY``: separated by commas or blanks,
        ``*``, a host name (its subdomains too, with or without a leading dot or
        ``*.``), an IP address, or a network such as ``10.0.0.0/8``; each but the
        network with ``:port`` if only that port is meant.
    """

    def __init__(self, proxies: Mapping[str, Proxy], exceptions: str = "") -> None:
        self._proxies = dict(proxies)
        self._exceptions = [NoProxy.of(entry) for entry in exceptions.replace(",", " ").split()]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProxySettings:
        """
        :raises ProxyConfigurationError: naming the variable.
        """
        proxies: dict[str, Proxy] = {}
        for scheme in DEFAULT_PORTS:
            for name in (f"{scheme}_proxy", "all_proxy"):
                found = _value_of(environment, name)
                if found is not None:
                    proxies[scheme] = proxy_of(*found)
                    break
        exceptions = _value_of(environment, "no_proxy")
        return cls(proxies, exceptions[1] if exceptions is not None else "")

    def proxy_for(self, scheme: str, host: str, port: int) -> Optional[Proxy]:
        """
        :param host: without brackets.
        :return: None where the server is spoken to directly.
        """
        proxy = self._proxies.get(scheme)
        if proxy is None or any(exception.holds(host, port) for exception in self._exceptions):
            return None
        return proxy


def proxy_shown(url: str, environment: Mapping[str, str]) -> Optional[str]:
    """
    Which proxy is used for a URL, for people.

    :param url: an absolute http(s) URL.
    :return: the proxy's URL without credentials, None where there is none.
    :raises ProxyConfigurationError: naming the variable.
    """
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    proxy = ProxySettings.from_environment(environment).proxy_for(parts.scheme, parts.hostname or "", port)
    return proxy.shown() if proxy is not None else None


def _value_of(environment: Mapping[str, str], name: str) -> Optional[tuple[str, str]]:
    """The variable that counts, and its value; the lower-case one may be empty to undo the other."""
    for variable in (name, name.upper()):
        # A CGI program's HTTP_PROXY is the request's header "Proxy" (httpoxy).
        if variable in environment and not (variable == "HTTP_PROXY" and "REQUEST_METHOD" in environment):
            value = environment[variable].strip()
            return (variable, value) if value else None
    return None


def proxy_of(variable: str, value: str) -> Proxy:
    """
    :param variable: where the value stands, for the error.
    :param value: such as ``http://user:password@proxy.example:3128``.
    :raises ProxyConfigurationError: for what is no proxy's URL, or one of a kind that is not supported.
    """
    text = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ProxyConfigurationError(f"{variable} is not a proxy's URL, such as http://proxy.example:3128") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise ProxyConfigurationError(f"{variable}: a proxy of the kind {parts.scheme}:// is not supported")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ProxyConfigurationError(f"{variable} is not a proxy's URL, such as http://proxy.example:3128")
    return Proxy(parts.scheme, parts.hostname, port or DEFAULT_PORTS[parts.scheme], _authorization_of(parts))


def _authorization_of(parts: Any) -> Optional[bytes]:
    if parts.username is None and parts.password is None:
        return None
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return b"Basic " + base64.b64encode(credentials.encode("utf-8"))


Address = Union[IPv4Address, IPv6Address]


@dataclass(frozen=True)
class NoProxy:
    """
    One entry of ``NO_PROXY``.

    :ivar name: a host name, lower case; ``*`` is every host; empty for a network.
    :ivar network: of addresses; a single one too.
    :ivar port: None is any.
    """

    name: str
    network: Optional[Union[IPv4Network, IPv6Network]] = None
    port: Optional[int] = None

    @classmethod
    def of(cls, entry: str) -> NoProxy:
        """What cannot be understood matches no host, as everywhere."""
        try:
            return cls("", ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            pass
        host, colon, digits = entry.rpartition(":")
        port = int(digits) if colon and digits.isascii() and digits.isdigit() and len(digits) < 6 else None
        if port is None:
            host = entry
        address = _address_of(host.strip("[]"))
        if address is not None:
            return cls("", ip_network(address), port)
        name = host.lower().rstrip(".")
        return cls(name if name == "*" else name.removeprefix("*").lstrip("."), None, port)

    def holds(self, host: str, port: int) -> bool:
        """Whether it means this server."""
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            address = _address_of(host)
            return address is not None and address.version == self.network.version and address in self.network
        name = host.lower().rstrip(".")
        return self.name == "*" or (self.name != "" and (name == self.name or name.endswith("." + self.name)))


def _address_of(host: str) -> Optional[Address]:
    try:
        return ip_address(host)
    except ValueError:
        return None


def bracketed(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
