"""Where a broker is and how to log in there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

_PORTS = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True)
class ConnectionParameters:
    """
    Where RabbitMQ is and how to log in there.

    :ivar heartbeat: seconds between signs of life; 0 turns them off.
    :ivar tls: True to speak TLS; the certificate is verified.
    :ivar ca_file: a PEM file of the authorities to trust, instead of the
        platform's.
    """

    hostname: str = "127.0.0.1"
    port: int = 5672
    username: str = "vumi"
    password: str = field(default="vumi", repr=False)
    vhost: str = "/develop"
    heartbeat: float = 30.0
    tls: bool = False
    ca_file: Optional[str] = None

    @property
    def address(self) -> str:
        """Host and port, for log lines."""
        host = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{host}:{self.port}"

    @classmethod
    def from_url(cls, url: str, **overrides: Any) -> ConnectionParameters:
        """
        Read ``amqp://user:password@host:port/vhost``, or ``amqps://`` for TLS.

        What the URL leaves out keeps its default. User, password and vhost are
        percent-decoded: ``/%2Fdevelop`` (or ``//develop``) is the vhost
        ``/develop``, and ``/develop`` is the vhost ``develop``.

        :param overrides: any fields, which win over the URL.
        :raises ValueError: the URL cannot be used; the message does not show
            what was between ``//`` and ``@``.
        """
        values = _fields_of(url)
        values.update(overrides)
        return cls(**values)


def _fields_of(url: str) -> dict[str, Any]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(
            "the AMQP URL cannot be read: its host or port is wrong, or a special character in the "
            "user name or password is not percent-encoded"
        ) from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"the AMQP URL must begin with amqp:// or amqps://, not {parts.scheme!r}")
    if not parts.hostname:
        raise ValueError("the AMQP URL names no host")
    if parts.query or parts.fragment:
        raise ValueError("the AMQP URL has a '?' or '#': percent-encode it, options have flags of their own")
    if port == 0:
        raise ValueError("the AMQP URL has port 0, which cannot be connected to")
    values: dict[str, Any] = {
        "hostname": unquote(parts.hostname),
        "port": port or _PORTS[parts.scheme],
        "tls": parts.scheme == "amqps",
    }
    if parts.username:
        values["username"] = unquote(parts.username)
    if parts.password is not None:
        values["password"] = unquote(parts.password)
    if len(parts.path) > 1:
        values["vhost"] = unquote(parts.path[1:])
    return values
