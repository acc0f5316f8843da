"""Where Redis is: the option ``url``, and how to connect to what it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from ..configuration.fields import ConfigField
from ..http.tls import VerifiedHost

#: Seconds for connecting, TLS included.
CONNECT_TIMEOUT = 3.0


@dataclass(frozen=True)
class RedisAddress:
    """Where Redis is, and who we are there."""

    host: str = "127.0.0.1"
    port: int = 6379
    username: str = ""
    password: str = field(default="", repr=False)
    database: int = 0
    tls: bool = False

    @classmethod
    def from_url(cls, url: Any) -> RedisAddress:
        """
        Read ``redis://[[user]:password@]host[:port][/database]``, or
        ``rediss://`` for TLS.

        :raises ValueError: says what is wrong, without the URL: it may hold a password.
        """
        if not isinstance(url, str):
            raise ValueError("must be text: redis://host:port/0, or rediss:// for TLS")
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            raise ValueError("must have a port from 1 to 65535 and an address that can be read") from None
        if parts.scheme not in ("redis", "rediss"):
            raise ValueError("must start with redis:// or rediss://")
        if not parts.hostname:
            raise ValueError("must name a host, as redis://host:port/0 does")
        if port == 0 or parts.query or parts.fragment:
            raise ValueError("must have the form redis://[[user]:password@]host[:port][/database]")
        tls = parts.scheme == "rediss"
        if tls and not _can_have_a_certificate(parts.hostname):
            raise ValueError("must name a host that a certificate can be for, as every rediss:// does")
        database = parts.path.strip("/") or "0"
        if not (database.isascii() and database.isdigit()):
            raise ValueError("must end with the number of a database, as redis://host:port/0 does")
        return cls(
            parts.hostname,
            port or 6379,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            int(database),
            tls,
        )

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """How to connect; with TLS the certificate is verified against the system's authorities."""
        kind: Any = HostnameEndpoint
        if "_" in self.host and not self.tls:
            # It refuses such names, which Docker's services may have.
            kind = TCP4ClientEndpoint
        endpoint: IStreamClientEndpoint = kind(reactor, self.host, self.port, timeout=CONNECT_TIMEOUT)
        return wrapClientTLS(VerifiedHost(self.host), endpoint) if self.tls else endpoint

    def __str__(self) -> str:
        """For log lines."""
        return f"{self.host}:{self.port}"


def _can_have_a_certificate(host: str) -> bool:
    try:
        VerifiedHost(host)
    except ValueError:
        return False
    return True


class ConfigRedisUrl(ConfigField[RedisAddress]):
    """The URL of a Redis, which may hold a password; gives a :class:`RedisAddress`."""

    field_type = "URL"
    secret = True

    def clean(self, value: Any) -> RedisAddress:
        try:
            return RedisAddress.from_url(value)
        except ValueError as error:
            self.wrong(str(error))
