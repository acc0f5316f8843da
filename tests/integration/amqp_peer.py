"""
The other vumi workers of a test: what they publish and what they find.

It speaks AMQP by pika, which the program itself does not use: a mistake of
ours cannot hide itself.
"""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, ChannelClosedByBroker

from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.waiting import SOON, wait_for

EXCHANGE = "vumi"


class AmqpPeer:
    """
    A blocking client, which connects again where its connection is gone.

    :param port: the broker's, on 127.0.0.1.
    """

    def __init__(self, port: int, vhost: str = VHOST) -> None:
        self._parameters = pika.ConnectionParameters(
            host="127.0.0.1",
            port=port,
            virtual_host=vhost,
            credentials=pika.PlainCredentials(USERNAME, PASSWORD),
            heartbeat=0,
            socket_timeout=10,
            blocked_connection_timeout=30,
        )
        self._connection: Optional[pika.BlockingConnection] = None
        self._channel: Optional[BlockingChannel] = None

    @property
    def channel(self) -> BlockingChannel:
        """A confirming channel that is open."""
        if self._connection is not None:
            try:
                self._connection.process_data_events(0)  # notices a connection that is gone
            except (AMQPError, OSError):
                pass
        if self._connection is None or self._connection.is_closed:
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = None
        if self._channel is None or self._channel.is_closed:
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        return self._channel

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.is_open:
            try:
                connection.close()
            except (AMQPError, OSError):
                pass  # it was closed from the other side meanwhile

    # What other workers do

    def declare(self, queue: str) -> None:
        """Declare exchange, queue and binding, as legacy vumi does."""
        channel = self.channel
        channel.exchange_declare(EXCHANGE, "direct", durable=True)
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, EXCHANGE, queue)

    def publish(self, queue: str, body: bytes, headers: Optional[Mapping[str, Any]] = None) -> None:
        """Publish bytes; returns when the broker has them."""
        properties = pika.BasicProperties(delivery_mode=2, headers=dict(headers) if headers else None)
        self.channel.basic_publish(EXCHANGE, queue, body, properties, mandatory=True)

    def publish_json(self, queue: str, value: Any, headers: Optional[Mapping[str, Any]] = None) -> None:
        """Publish a value as Python 2 senders do, ASCII with escapes."""
        self.publish(queue, json.dumps(value).encode("ascii"), headers)

    # What they find

    def exists(self, queue: str) -> bool:
        """Whether there is such a queue."""
        try:
            self.channel.queue_declare(queue, passive=True)
        except ChannelClosedByBroker:
            return False
        return True

    def ready(self, queue: str) -> int:
        """How many messages a queue holds that nobody was given."""
        try:
            return int(self.channel.queue_declare(queue, passive=True).method.message_count)
        except ChannelClosedByBroker:
            return 0

    def consumers(self, queue: str) -> int:
        """How many consumers a queue has."""
        try:
            return int(self.channel.queue_declare(queue, passive=True).method.consumer_count)
        except ChannelClosedByBroker:
            return 0

    def take(self, queue: str) -> Optional[tuple[pika.BasicProperties, bytes]]:
        """Take the next message out of a queue: its properties and its bytes, None if it is empty."""
        try:
            method, properties, body = self.channel.basic_get(queue, auto_ack=True)
        except ChannelClosedByBroker:
            return None
        return None if method is None else (properties, body)

    def take_json(self, queue: str, timeout: float = SOON) -> Any:
        """Wait for the next message of a queue, take it out and decode it."""
        found = wait_for(lambda: self.take(queue), f"a message in {queue}", timeout)
        assert found is not None
        return json.loads(found[1])

    def take_all(self, queue: str) -> list[bytes]:
        """Take out all that a queue holds."""
        bodies: list[bytes] = []
        while True:
            found = self.take(queue)
            if found is None:
                return bodies
            bodies.append(found[1])

    def purge(self, *queues: str) -> None:
        """Empty queues, those that there are."""
        for queue in queues:
            if self.exists(queue):
                self.channel.queue_purge(queue)

    def delete(self, *queues: str) -> None:
        """Delete queues."""
        for queue in queues:
            self.channel.queue_delete(queue)

    def wait_until_empty(self, queue: str, timeout: float = SOON) -> None:
        """Wait until nothing in a queue is left to be given to anybody."""
        wait_for(lambda: not self.ready(queue), f"{queue} to be empty", timeout)
