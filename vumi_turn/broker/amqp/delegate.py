"""Handlers of the methods that RabbitMQ sends on its own, not as an answer."""

from __future__ import annotations

from typing import Any

from txamqp.client import TwistedDelegate
from txamqp.protocol import AMQChannel

from .identity import client_properties, plain_response


class Delegate(TwistedDelegate):
    """The handlers of one connection, which sets ``client``. txamqp finds them by their names."""

    def connection_start(self, ch: AMQChannel, msg: Any) -> None:
        client = self.client
        client.server = dict(msg.server_properties)
        if "PLAIN" not in msg.mechanisms.split():
            client.refuse_peer(
                f"RabbitMQ offers no PLAIN authentication, only {msg.mechanisms}: enable PLAIN (auth_mechanisms)"
            )
            return
        ch.connection_start_ok(
            client_properties=client_properties(client.role),
            mechanism="PLAIN",
            response=plain_response(client.parameters),
            locale="en_US",
        )

    def connection_tune(self, ch: AMQChannel, msg: Any) -> None:
        ch.connection_tune_ok(*self.client.tune(msg.channel_max, msg.frame_max, msg.heartbeat))
        self.client.started.fire()

    def connection_secure(self, ch: AMQChannel, msg: Any) -> None:
        self.client.refuse_peer("RabbitMQ wants more than PLAIN authentication")

    def connection_close(self, ch: AMQChannel, msg: Any) -> None:
        self.client.refusal = (msg.reply_code, msg.reply_text)
        super().connection_close(ch, msg)

    def connection_blocked(self, ch: AMQChannel, msg: Any) -> None:
        self.client.set_blocked(True, msg.reason)

    def connection_unblocked(self, ch: AMQChannel, msg: Any) -> None:
        self.client.set_blocked(False, "")

    def basic_cancel(self, ch: AMQChannel, msg: Any) -> None:
        self.client.tell_cancelled(ch.id, msg.consumer_tag)

    def close(self, reason: Any) -> None:
        super().close(reason)
        self.client.bound_closing()
