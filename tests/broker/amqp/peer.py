"""
A RabbitMQ for unit tests: real frames over a fake transport, no socket.

It answers what a broker answers, remembers what it was asked, and does what it
is told to do wrong. It keeps no queues and routes nothing: a test delivers and
confirms by itself.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from txamqp.connection import Body, Frame, Header, Method

from vumi_turn.broker.amqp.codec import decode_frame, encode_frame
from vumi_turn.broker.amqp.spec import load_spec

#: What the server answers by itself.
ANSWERS = {
    "connection.start-ok": ("connection.tune", {"channel_max": 2047, "frame_max": 4096, "heartbeat": 60}),
    "connection.open": ("connection.open-ok", {}),
    "connection.close": ("connection.close-ok", {}),
    "channel.open": ("channel.open-ok", {}),
    "channel.close": ("channel.close-ok", {}),
    "exchange.declare": ("exchange.declare-ok", {}),
    "queue.declare": ("queue.declare-ok", {}),
    "queue.bind": ("queue.bind-ok", {}),
    "basic.qos": ("basic.qos-ok", {}),
    "basic.consume": ("basic.consume-ok", {}),
    "basic.cancel": ("basic.cancel-ok", {}),
    "confirm.select": ("confirm.select-ok", {}),
}


class Call(NamedTuple):
    """A method that the client called."""

    channel: int
    name: str
    fields: dict[str, Any]


class Published(NamedTuple):
    """A message that the client published."""

    channel: int
    fields: dict[str, Any]
    properties: dict[str, Any]
    body: bytes


def method_frame(channel: int, name: str, **fields: Any) -> bytes:
    """The bytes of a method; fields that are not given have their empty value."""
    klass_name, _, method_name = name.partition(".")
    method = load_spec().classes.byname[klass_name].methods.byname[method_name]
    defaults = {"shortstr": "", "longstr": "", "table": {}}
    values = [fields.pop(each.name.replace("-", "_"), defaults.get(each.type, 0)) for each in method.fields]
    if fields:
        raise TypeError(f"{name} has no field {', '.join(fields)}")
    return encode_frame(Frame(channel, Method(method, *values)))


def content_frames(channel: int, body: bytes, frame_max: int = 4096, **properties: Any) -> bytes:
    """The bytes of a message's header and body frames."""
    klass = load_spec().classes.byname["basic"]
    room = frame_max - 8
    header = Header(klass, 0, len(body), **{name.replace("_", "-"): value for name, value in properties.items()})
    frames = [header] + [Body(body[start : start + room]) for start in range(0, len(body), room)]
    return b"".join(encode_frame(Frame(channel, payload)) for payload in frames)


class PeerTransport(StringTransport):
    """What the client writes goes to its peer; what ends it is told to it a moment later."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.protocol: Any = None
        self._clock = clock
        self.gone = False
        self.aborted = False
        self.no_delay = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def loseConnection(self) -> None:
        self._end(ConnectionDone())

    def abortConnection(self) -> None:
        self.aborted = True
        self._end(ConnectionLost("aborted"))

    def _end(self, why: Exception) -> None:
        if not self.gone:
            self.gone = True
            self._clock.callLater(0, self.protocol.connectionLost, Failure(why))


class Peer:
    """
    The server's end of one connection.

    :ivar calls: the methods the client called, in order.
    :ivar published: the messages it published.
    :ivar silent: methods that get no answer.
    :ivar refusals: methods that close their channel, with code and text; those
        of class ``connection`` close the connection.
    """

    def __init__(self, client: Any, clock: Clock, silent: set[str], refusals: dict[str, tuple[int, str]]) -> None:
        self.client = client
        self.silent = silent
        self.refusals = refusals
        self.calls: list[Call] = []
        self.published: list[Published] = []
        self.heartbeats = 0
        self.server_properties: dict[str, Any] = {}
        self.greeting = b""
        self.transport = PeerTransport(clock)
        self.transport.protocol = client
        self._unfinished: dict[int, list[Any]] = {}
        client.makeConnection(self.transport)

    @property
    def lost(self) -> bool:
        return self.transport.gone

    def names(self) -> list[str]:
        """The names of what the client called, in order."""
        return [call.name for call in self.calls]

    def called(self, name: str) -> list[Call]:
        """The client's calls of one method."""
        return [call for call in self.calls if call.name == name]

    def send(self, data: bytes) -> None:
        """Send bytes to the client, and answer what it says to that."""
        if not self.transport.gone:
            self.client.dataReceived(data)
        self.pump()

    def method(self, channel: int, name: str, **fields: Any) -> None:
        """Send a method."""
        self.send(method_frame(channel, name, **fields))

    def deliver(
        self, body: bytes, tag: int, redelivered: bool = False, queue: Optional[str] = None, **properties: Any
    ) -> None:
        """Deliver a message on the channel that consumes (from ``queue``)."""
        consume = [c for c in self.called("basic.consume") if queue in (None, c.fields["queue"])][-1]
        self.send(
            method_frame(
                consume.channel,
                "basic.deliver",
                consumer_tag=consume.fields["consumer_tag"],
                delivery_tag=tag,
                redelivered=redelivered,
                exchange="vumi",
                routing_key=consume.fields["queue"],
            )
            + content_frames(consume.channel, body, **properties)
        )

    def confirm(self, tag: int, multiple: bool = False) -> None:
        """Confirm a publish."""
        self.method(self.publish_channel, "basic.ack", delivery_tag=tag, multiple=multiple)

    def give_back(self, message: Published) -> None:
        """Return a message that was published, as no queue takes it."""
        self.send(
            method_frame(
                message.channel,
                "basic.return",
                reply_code=312,
                reply_text="NO_ROUTE",
                exchange=message.fields["exchange"],
                routing_key=message.fields["routing_key"],
            )
            + content_frames(
                message.channel,
                message.body,
                **{n.replace("-", "_"): v for n, v in message.properties.items()},
            )
        )

    @property
    def publish_channel(self) -> int:
        return self.called("confirm.select")[-1].channel

    def cut(self) -> None:
        """The link breaks."""
        if not self.transport.gone:
            self.transport.gone = True
            self.client.connectionLost(Failure(ConnectionLost("cut")))

    def pump(self) -> None:
        """Read what the client wrote, and answer, until it writes no more."""
        while self.transport.value():
            data = self.transport.value()
            self.transport.clear()
            if not self.greeting:
                self.greeting, data = data[:8], data[8:]
                self.method(
                    0,
                    "connection.start",
                    version_minor=9,
                    server_properties=self.server_properties,
                    mechanisms="PLAIN AMQPLAIN",
                    locales="en_US",
                )
            while data:
                end = 8 + int.from_bytes(data[3:7], "big")
                self._frame(decode_frame(load_spec(), data[:end]))
                data = data[end:]

    def _frame(self, frame: Frame) -> None:
        payload = frame.payload
        if isinstance(payload, Method):
            self._method(frame.channel, payload)
        elif isinstance(payload, Header):
            self._unfinished[frame.channel] += [payload, b""]
            self._finish(frame.channel)
        elif isinstance(payload, Body):
            self._unfinished[frame.channel][2] += payload.content
            self._finish(frame.channel)
        else:
            self.heartbeats += 1

    def _finish(self, channel: int) -> None:
        fields, header, body = self._unfinished[channel]
        if len(body) == header.size:
            del self._unfinished[channel]
            self.published.append(Published(channel, fields, header.properties, body))

    def _method(self, channel: int, payload: Method) -> None:
        method = payload.method
        name = f"{method.klass.name}.{method.name}"
        fields = {f.name.replace("-", "_"): v for f, v in zip(method.fields, payload.args, strict=True)}
        if method.content:
            self._unfinished[channel] = [fields]
            return
        self.calls.append(Call(channel, name, fields))
        if name in self.refusals and name not in self.silent:
            code, text = self.refusals[name]
            where = (0, "connection.close") if channel == 0 else (channel, "channel.close")
            self.method(*where, reply_code=code, reply_text=text)
        elif name in ANSWERS and name not in self.silent:
            answer, values = ANSWERS[name]
            extra = {"consumer_tag": fields["consumer_tag"]} if "consumer_tag" in fields else {}
            self.method(channel, answer, **values, **extra)


class FakeRabbit:
    """
    An endpoint with a RabbitMQ behind it.

    :ivar peers: every connection there has been, in order.
    :ivar failure: if set, connecting fails with this exception.
    :ivar hanging: if True, connecting neither works nor fails.
    :ivar new_peer: makes the server's end of a connection.
    """

    def __init__(self, clock: Clock, new_peer: Callable[..., Peer] = Peer) -> None:
        self.new_peer = new_peer
        self.clock = clock
        self.peers: list[Peer] = []
        self.attempts = 0
        self.failure: Optional[Exception] = None
        self.hanging = False
        self.silent: set[str] = set()
        self.refusals: dict[str, tuple[int, str]] = {}
        self.server_properties: dict[str, Any] = {}

    def connect(self, factory: Any) -> Deferred[Any]:
        self.attempts += 1
        if self.failure is not None:
            return fail(self.failure)
        if self.hanging:
            return Deferred()
        client = factory.buildProtocol(None)
        done: Deferred[Any] = Deferred()
        peer = self.new_peer(client, self.clock, self.silent, self.refusals)
        peer.server_properties = self.server_properties
        self.peers.append(peer)
        self.clock.callLater(0, done.callback, client)
        return done

    @property
    def open_peers(self) -> list[Peer]:
        return [peer for peer in self.peers if not peer.lost]

    @property
    def consuming(self) -> Peer:
        """The newest connection that consumes."""
        return self._newest("consuming")

    @property
    def publishing(self) -> Peer:
        """The newest connection that publishes."""
        return self._newest("publishing")

    def _newest(self, role: str) -> Peer:
        return [peer for peer in self.peers if role in self.name_of(peer)][-1]

    @staticmethod
    def name_of(peer: Peer) -> str:
        started = peer.called("connection.start-ok")
        return started[0].fields["client_properties"]["connection_name"] if started else ""

    def advance(self, seconds: float = 0.0) -> None:
        """Let time pass, and everybody say what they have to say."""
        self._settle()
        self.clock.advance(seconds)
        self._settle()

    def _settle(self) -> None:
        for _ in range(10):
            for peer in list(self.peers):
                peer.pump()
            self.clock.advance(0)
