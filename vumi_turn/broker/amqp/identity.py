"""The properties and credentials that a client sends to RabbitMQ when it logs in."""

from __future__ import annotations

from typing import Any

import vumi_turn

from .parameters import ConnectionParameters

#: Only clients that announce these are told of a cancelled consumer, an alarm
#: or wrong credentials.
CAPABILITIES = {
    "publisher_confirms": True,
    "consumer_cancel_notify": True,
    "basic.nack": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
    "exchange_exchange_bindings": True,
}


def client_properties(role: str) -> dict[str, Any]:
    """
    The client properties of ``connection.start-ok``.

    :param role: what the connection is for; RabbitMQ's management UI shows it.
    """
    return {
        "product": "vumi_turn",
        "version": str(getattr(vumi_turn, "__version__", "unknown")),
        "platform": "Python, Twisted, txamqp",
        "connection_name": f"vumi_turn {role}",
        "capabilities": CAPABILITIES,
    }


def plain_response(parameters: ConnectionParameters) -> str:
    """User name and password as the PLAIN mechanism has them (RFC 4616)."""
    return f"\0{parameters.username}\0{parameters.password}"
