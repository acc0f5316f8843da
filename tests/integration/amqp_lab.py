"""A link to RabbitMQ that breaks, freezes or speaks TLS when a test wants it, and a look from outside."""

from __future__ import annotations

from typing import Any, Callable, Optional

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from txamqp.content import Content

from vumi_turn.broker.amqp import ConnectionParameters
from vumi_turn.broker.amqp.client import Client


async def until(reactor: Any, condition: Callable[[], Any], seconds: float = 30.0, what: str = "") -> None:
    """Wait until ``condition()`` holds, or fail after so many seconds."""
    deadline = reactor.seconds() + seconds
    while not condition():
        if reactor.seconds() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or condition}")
        await deferLater(reactor, 0.01)


class Proxy(Factory):
    """
    A link to RabbitMQ that a test can break.

    :ivar pairs: the connections that are open.
    :ivar bytes_per_second: how fast new connections carry what RabbitMQ sends; 0 for as fast as they can.
    """

    def __init__(self, reactor: Any, port: int, listening_port: int = 0) -> None:
        self._reactor = reactor
        self._port = port
        self._listening: Any = None
        self.pairs: list[_Near] = []
        self.listening_port = listening_port
        self.accepted = 0
        self.bytes_per_second = 0

    def open(self, context: Any = None) -> None:
        """Listen; with a TLS context, speak TLS."""
        if context is None:
            self._listening = self._reactor.listenTCP(self.listening_port, self, interface="127.0.0.1")
        else:
            self._listening = self._reactor.listenSSL(self.listening_port, self, context, interface="127.0.0.1")
        self.listening_port = self._listening.getHost().port

    async def close(self) -> None:
        """Listen no more, and break what is open."""
        if self._listening is not None:
            await maybeDeferred(self._listening.stopListening)
            self._listening = None
        self.cut()
        await until(self._reactor, lambda: not self.pairs)

    def cut(self) -> None:
        """Break every connection, in both directions."""
        for pair in list(self.pairs):
            pair.cut()

    def freeze(self) -> None:
        """Carry nothing more on the connections that are open, without a word to either side."""
        for pair in self.pairs:
            pair.freeze()

    def buildProtocol(self, addr: Any) -> Protocol:
        self.accepted += 1
        near = _Near(self._reactor, self._port, self.pairs, self.bytes_per_second)
        self.pairs.append(near)
        return near


class _Near(Protocol):
    """The worker's side of one proxied connection."""

    transport: Any

    def __init__(self, reactor: Any, port: int, pairs: list[_Near], bytes_per_second: int) -> None:
        self._reactor = reactor
        self._port = port
        self._pairs = pairs
        self._bytes_per_second = bytes_per_second
        self._slow = bytearray()
        self._timer: Any = None
        self._far: Optional[_Far] = None
        self._waiting: list[bytes] = []
        self._frozen = False
        self._gone = False

    def connectionMade(self) -> None:
        endpoint = HostnameEndpoint(self._reactor, "127.0.0.1", self._port)
        connecting: Any = connectProtocol(endpoint, _Far(self))
        connecting.addCallbacks(self._connected, lambda _: self.cut())

    def _connected(self, far: _Far) -> None:
        self._far = far
        if self._gone:
            far.transport.abortConnection()
        for data in self._waiting:
            far.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        if self._frozen:
            return
        if self._far is None:
            self._waiting.append(data)
        else:
            self._far.transport.write(data)

    def back(self, data: bytes) -> None:
        if self._frozen:
            return
        if not self._bytes_per_second:
            self.transport.write(data)
            return
        self._slow += data
        if len(self._slow) > 65_536 and self._far is not None:
            self._far.transport.pauseProducing()  # the link holds no more
        if self._timer is None:
            self._crawl()

    def _crawl(self) -> None:
        """Carry a tenth of a second's worth."""
        self._timer = None
        if self._gone or not self._slow:
            return
        share = self._bytes_per_second // 10
        self.transport.write(bytes(self._slow[:share]))
        del self._slow[:share]
        if len(self._slow) <= 65_536 and self._far is not None:
            self._far.transport.resumeProducing()
        self._timer = self._reactor.callLater(0.1, self._crawl)

    def freeze(self) -> None:
        self._frozen = True

    def cut(self) -> None:
        if not self._gone:
            self.transport.abortConnection()

    def far_gone(self) -> None:
        if not self._gone and not self._frozen:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any = None) -> None:
        self._gone = True
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._pairs.remove(self)
        if self._far is not None:
            self._far.transport.abortConnection()


class _Far(Protocol):
    """RabbitMQ's side of one proxied connection."""

    transport: Any

    def __init__(self, near: _Near) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.back(data)

    def connectionLost(self, reason: Any = None) -> None:
        self._near.far_gone()


class Admin:
    """An own connection, to look at queues and to do to them what others do."""

    def __init__(self, reactor: Any, parameters: ConnectionParameters) -> None:
        self._reactor = reactor
        self._parameters = parameters
        self._client: Optional[Client] = None

    async def do(self, method: str, **fields: Any) -> Any:
        """Call one method on a channel of its own, and close that."""
        client = await self._connected()
        channel = await client.open_channel()
        answer = await client.call(channel, method, **fields)
        await client.close_channel(channel)
        return answer

    async def publish(self, queue: str, body: bytes, properties: dict[str, Any]) -> None:
        """Put a message with these properties into a queue, by txamqp's own code."""
        client = await self._connected()
        channel = await client.open_channel()
        content = Content(body, properties=properties)
        await client.call(channel, "basic_publish", routing_key=queue, content=content)
        await client.close_channel(channel)

    async def _connected(self) -> Client:
        if self._client is None or self._client.closed:
            client = Client(self._parameters, "admin", self._reactor)
            endpoint = HostnameEndpoint(self._reactor, self._parameters.hostname, self._parameters.port)
            connecting: Any = connectProtocol(endpoint, client)
            self._client = await connecting
            await client.handshake()
        return self._client

    async def consumers(self, queue: str) -> int:
        """How many consumers a queue has."""
        return int((await self.do("queue_declare", queue=queue, passive=True)).consumer_count)

    async def ready(self, queue: str) -> int:
        """How many messages wait in a queue."""
        return int((await self.do("queue_declare", queue=queue, passive=True)).message_count)

    async def delete(self, queue: str) -> None:
        """Delete a queue."""
        await self.do("queue_delete", queue=queue)

    async def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            await self._client.shut_down(2)
