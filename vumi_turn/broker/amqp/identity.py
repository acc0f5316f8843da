"""What RabbitMQ is told of us when we log in."""

from __future__ import annotations

from typing import Any

import vumi_turn

from .parameters import ConnectionParameters

#: Without these RabbitMQ keeps silent about a cancelled consumer, an alarm or a
#: wrong password.
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
    Who we are and what we understand.

    :param role: what the connection is for, shown in RabbitMQ's own views.
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
