"""The broker's options: their defaults, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Optional, TypeVar
from urllib.parse import urlsplit

from ..broker.interface import Broker
from ..configuration.fields import MASK, dirt_of

if TYPE_CHECKING:
    from ..broker.amqp.parameters import ConnectionParameters

N = TypeVar("N", int, float)

#: Seconds. Whoever gives the same number has another object: it is known whether it was given.
DEFAULT_HEARTBEAT = 30.0

DEFAULTS: Mapping[str, Any] = {
    "hostname": "127.0.0.1",
    "port": 5672,
    "username": "vumi",
    "password": "vumi",
    "vhost": "/develop",
    "specfile": None,
    "sentry": None,
    "system-id": "global",
    "heartbeat": DEFAULT_HEARTBEAT,
    "amqp-url": None,
    "amqp-ca-file": None,
}


#: What an AMQP URL has in one.
PARTS_OF_URL = ("hostname", "port", "username", "password", "vhost")

#: Those that are never shown.
SECRETS = ("password", "amqp-url")

#: The environment variable with the password, where neither a flag nor a file has one.
#: Other users of the machine can see flags.
PASSWORD_VARIABLE = "AMQP_PASSWORD"

#: The key of ``vumi_options`` with those of them that win over the URL, if there are any.
OVER_URL = "over-amqp-url"


def with_heartbeat(options: Mapping[str, Any], preferred: Optional[float]) -> Mapping[str, Any]:
    """
    The options with the heartbeat that a worker prefers, unless the user gives one.

    :param preferred: seconds; None where the worker does not mind.
    """
    if preferred is None or options["heartbeat"] is not DEFAULT_HEARTBEAT:
        return options
    return {**options, "heartbeat": preferred}


def parameters_from_options(options: Mapping[str, Any]) -> ConnectionParameters:
    """
    :param options: ``vumi_options`` of :class:`VumiOptions`.
    :return: the broker's ``ConnectionParameters``.
    :raises ValueError: a value cannot be used; the text says which.
    """
    from ..broker.amqp.parameters import ConnectionParameters

    heartbeat = number(float, options["heartbeat"])
    if heartbeat is None or not 0 <= heartbeat <= 65535:
        raise ValueError(f"heartbeat must be a number of seconds from 0 to 65535, not {options['heartbeat']!r}")
    common = {"heartbeat": heartbeat, "ca_file": options["amqp-ca-file"]}
    if options["amqp-url"]:
        parts = _parts_of_url(options, options.get(OVER_URL, ()))
        return ConnectionParameters.from_url(_clean("amqp-url", options["amqp-url"]), **parts, **common)
    return ConnectionParameters(**_parts_of_url(options, PARTS_OF_URL), **common)


def _parts_of_url(options: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """
    Where the broker is and who we are there, as single options say it.

    :raises ValueError: a value cannot be used; the text says which.
    """
    parts: dict[str, Any] = {name: _clean(name, options[name]) for name in names}
    if "port" in parts:
        port = number(int, options["port"])
        if port is None or not 0 < port < 65536:
            raise ValueError(f"port must be a number from 1 to 65535, not {options['port']!r}")
        parts["port"] = port
    if not parts.get("hostname", "any").strip():
        raise ValueError("hostname must not be empty")
    return parts


def has_password(url: object) -> bool:
    """Whether an AMQP URL has a password in it; False for what is no URL."""
    try:
        return urlsplit(str(url or "")).password is not None
    except ValueError:
        return False


def _clean(name: str, value: object) -> str:
    """
    The value's text, without a line end after it.

    :raises ValueError: other dirt is around it.
    """
    text = str(value).rstrip("\r\n")
    dirt = dirt_of(text)
    if dirt is not None:
        shown = MASK if name in SECRETS else repr(text)
        raise ValueError(f"{name} {dirt}: {shown}")
    return text


def number(kind: Callable[[str], N], value: Any) -> Optional[N]:
    """A number from a flag, which is a text, or from a file; None if it is none."""
    try:
        return kind(str(value))
    except ValueError:
        return None


def broker_from_options(options: Mapping[str, Any], reactor: Any, connector: str = "") -> Broker:
    """
    A broker that is not started yet.

    :param options: ``vumi_options`` of :class:`VumiOptions`.
    :param connector: named in log lines; empty where it is no single one's.
    :raises ValueError: a value cannot be used; the text says which.
    """
    from ..broker.amqp import AmqpBroker

    return AmqpBroker(parameters_from_options(options), reactor, connector=connector)
