"""
A plain bridge as one would write it today: aio-pika, aiohttp and uvloop, no
policy, no cache. Twenty messages are in flight, as in the worker.

Run as ``asyncio_bridge.py inbound AMQP_PORT QUEUE URL`` or
``asyncio_bridge.py outbound AMQP_PORT QUEUE HTTP_PORT SECRET``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import sys
from datetime import datetime, timezone
from typing import Any
from uuid import uuid4

import aio_pika
import aiohttp
import uvloop
from aio_pika.abc import AbstractIncomingMessage
from aiohttp import web

from benchmarks.rig import TOKEN
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST

IN_FLIGHT = 20

#: What every vumi message has; a transport could do nothing with less.
MESSAGE: dict[str, Any] = {
    "message_type": "user_message", "message_version": "20110921", "from_addr": "8864", "in_reply_to": None,
    "session_event": "close", "transport_type": "sms", "transport_metadata": {}, "helper_metadata": {},
    "routing_metadata": {}, "group": None, "provider": None, "to_addr_type": None, "from_addr_type": None,
}  # fmt: skip


async def inbound(connection: aio_pika.abc.AbstractConnection, name: str, url: str) -> None:
    """Consume, POST, acknowledge; for ever."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=IN_FLIGHT)
    queue = await channel.get_queue(name)

    async with aiohttp.ClientSession(headers=headers) as session:

        async def one(message: AbstractIncomingMessage) -> None:
            body = json.loads(message.body)
            person = body["from_addr"]
            sent_at = datetime.fromisoformat(body["timestamp"]).replace(tzinfo=timezone.utc)
            payload = {
                "contact": {"id": person, "profile": {"name": person}},
                "message": {
                    "type": "text", "text": {"body": body["content"]}, "from": person, "id": body["message_id"],
                    "timestamp": str(int(sent_at.timestamp())),
                },
            }  # fmt: skip
            async with session.post(url + "/messages", data=json.dumps(payload).encode()) as response:
                await response.read()
                response.raise_for_status()
            await message.ack()

        await queue.consume(one)
        await asyncio.Future()


async def outbound(connection: aio_pika.abc.AbstractConnection, name: str, port: int, secret: bytes) -> None:
    """Listen, check the signature, publish with a confirm, answer; for ever."""
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange("vumi")
    constant = {**MESSAGE, "transport_name": name.partition(".")[0]}

    async def messages(request: web.Request) -> web.Response:
        body = await request.read()
        expected = base64.b64encode(hmac.digest(secret, body, hashlib.sha256))
        if not hmac.compare_digest(expected, request.headers.get("X-Turn-Hook-Signature", "").encode()):
            return web.Response(status=401)
        asked = json.loads(body)
        message_id = uuid4().hex
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
        content = asked["turn"]["text"]["body"]
        out = {**constant, "message_id": message_id, "to_addr": asked["to"], "content": content, "timestamp": now}
        published = aio_pika.Message(json.dumps(out).encode(), delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(published, name, mandatory=True)
        return web.json_response({"messages": [{"id": message_id}]})

    app = web.Application()
    app.router.add_post("/messages", messages)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Future()


async def main(kind: str, amqp_port: str, name: str, *rest: str) -> None:
    """One of the two."""
    connection = await aio_pika.connect(
        host="127.0.0.1", port=int(amqp_port), login=USERNAME, password=PASSWORD, virtualhost=VHOST
    )
    async with connection:
        if kind == "inbound":
            await inbound(connection, name, rest[0])
        else:
            await outbound(connection, name, int(rest[0]), rest[1].encode())


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
