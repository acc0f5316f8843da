"""
A bare loop of the same libraries as they come: txamqp consume, treq POST,
acknowledge; 20 in flight, no policy, no cache. What the worker is compared with.

Run as ``bare_inbound.py AMQP_PORT QUEUE URL CONNECTIONS``: so many are kept in
treq's pool, which are 2 as it comes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import treq
from twisted.internet import defer, endpoints, protocol, task
from twisted.web.client import HTTPConnectionPool
from txamqp.client import TwistedDelegate
from txamqp.protocol import AMQClient
from txamqp.spec import load_string

import vumi_turn.broker.amqp

SPEC = next(Path(vumi_turn.broker.amqp.__file__).parent.glob("*.xml"))
IN_FLIGHT = 20


class Client(AMQClient):
    """txamqp's client, with the one thing it cannot do without."""

    def __init__(self) -> None:
        super().__init__(TwistedDelegate(), "/develop", load_string(SPEC.read_bytes()))


async def work(reactor: Any, port: int, name: str, url: str, connections: int) -> None:
    """Consume for ever."""
    endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    client: Any = await endpoint.connect(protocol.Factory.forProtocol(Client))
    await client.authenticate("vumi", "vumi", mechanism="PLAIN")
    channel = await client.channel(1)
    await channel.channel_open()
    await channel.basic_qos(prefetch_count=IN_FLIGHT)
    await channel.basic_consume(queue=name, consumer_tag="bare")
    queue = await client.queue("bare")
    pool = HTTPConnectionPool(reactor)
    pool.maxPersistentPerHost = connections

    async def one(message: Any) -> None:
        body = json.loads(message.content.body)
        payload = {"message": {"from": body["from_addr"], "id": body["message_id"], "text": {"body": body["content"]}}}
        response = await treq.post(url + "/messages", json=payload, headers={"Authorization": "Bearer x"}, pool=pool)
        await response.content()
        channel.basic_ack(message.delivery_tag)

    while True:
        defer.ensureDeferred(one(await queue.get()))


if __name__ == "__main__":
    task.react(
        lambda reactor: defer.ensureDeferred(
            work(reactor, int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]))
        )
    )
