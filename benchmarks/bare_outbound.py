"""
A bare loop of klein and txamqp as they come: check the signature, decode,
publish a vumi message with a confirm, answer. What the worker's outbound side is compared with.

Run as ``bare_outbound.py AMQP_PORT QUEUE HTTP_PORT SECRET``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

from klein import Klein
from twisted.internet import defer, endpoints, protocol, reactor
from twisted.python.failure import Failure
from twisted.web.server import Site
from txamqp.client import TwistedDelegate
from txamqp.content import Content

from benchmarks.bare_inbound import Client

PORT, QUEUE, HTTP_PORT, SECRET = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4].encode()

#: What every vumi message has; a transport could do nothing with less.
MESSAGE: dict[str, Any] = {
    "message_type": "user_message", "message_version": "20110921", "from_addr": "8864", "in_reply_to": None,
    "session_event": "close", "transport_name": QUEUE.partition(".")[0], "transport_type": "sms",
    "transport_metadata": {}, "helper_metadata": {}, "routing_metadata": {}, "group": None, "provider": None,
    "to_addr_type": None, "from_addr_type": None,
}  # fmt: skip


class Confirms(TwistedDelegate):
    """Fires what waits for each delivery tag."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: dict[int, defer.Deferred[None]] = {}

    def basic_ack(self, channel: Any, message: Any) -> None:
        """The broker has one message, or all up to it."""
        tags = [t for t in self.waiting if t <= message.delivery_tag] if message.multiple else [message.delivery_tag]
        for tag in tags:
            self.waiting.pop(tag).callback(None)


class ConfirmingClient(Client):
    """txamqp's client with a delegate that takes confirms."""

    def __init__(self) -> None:
        super().__init__()
        self.delegate = Confirms()
        self.delegate.client = self


async def start() -> None:
    """Connect and listen."""
    endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", PORT)
    client: Any = await endpoint.connect(protocol.Factory.forProtocol(ConfirmingClient))
    await client.authenticate("vumi", "vumi", mechanism="PLAIN")
    channel = await client.channel(1)
    await channel.channel_open()
    await channel.confirm_select()
    app = Klein()
    last_tag = 0

    @app.route("/messages", methods=["POST"])
    async def messages(request: Any) -> bytes:
        nonlocal last_tag
        body = request.content.read()
        expected = base64.b64encode(hmac.new(SECRET, body, hashlib.sha256).digest())
        if not hmac.compare_digest(expected, request.getHeader(b"X-Turn-Hook-Signature") or b""):
            request.setResponseCode(401)
            return b""
        asked = json.loads(body)
        message_id = uuid4().hex
        out = {**MESSAGE, "message_id": message_id, "to_addr": asked["to"], "content": asked["turn"]["text"]["body"]}
        out["timestamp"] = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        last_tag += 1
        confirmed: defer.Deferred[None] = defer.Deferred()
        client.delegate.waiting[last_tag] = confirmed
        content = Content(json.dumps(out).encode(), properties={"delivery-mode": 2})
        channel.basic_publish(exchange="vumi", routing_key=QUEUE, content=content)
        await confirmed
        request.setHeader("Content-Type", "application/json")
        return json.dumps({"messages": [{"id": message_id}]}).encode()

    site = Site(app.resource())
    site.noisy = False
    await endpoints.TCP4ServerEndpoint(reactor, HTTP_PORT, interface="127.0.0.1").listen(site)


def give_up(failure: Failure) -> None:
    """End with a traceback."""
    failure.printTraceback()
    reactor.stop()


if __name__ == "__main__":
    defer.ensureDeferred(start()).addErrback(give_up)
    reactor.run()
