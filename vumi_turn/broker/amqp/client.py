"""
One connection to RabbitMQ: txamqp's client with the fast path in front of it,
and with what txamqp lacks: capabilities, timeouts, cheap heartbeats, and a
notification of everybody who waits when the connection ends.

A connection is used once. When anything is wrong with it, it is aborted, and
:mod:`vumi_turn.broker.amqp.robust_connection` makes another one.
"""

from __future__ import annotations

import math
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from txamqp.client import ChannelClosed, Closed
from txamqp.connection import Frame
from txamqp.protocol import AMQChannel, AMQClient
from txamqp.queue import Closed as QueueClosed

from .call_timeout import CallTimeout
from .codec import decode_frame, encode_frame
from .delegate import Delegate
from .errors import ChannelRefused, ConnectionGone, NoAnswer, NoFreeChannel
from .foreign import foreign_protocol
from .frames import HEARTBEAT_FRAME, FrameError, FrameReader, Receiver
from .heartbeat_monitor import HeartbeatMonitor
from .parameters import ConnectionParameters
from .retirement import ChannelRetirement
from .spec import load_spec

#: Seconds in which each answer, or at least some data, has to arrive.
ANSWER_TIMEOUT = 10.0
#: Seconds that a closing connection has for its last bytes.
CLOSING_TIMEOUT = 2.0
#: RabbitMQ's default, used where it says "no limit".
DEFAULT_FRAME_MAX = 131072
DEFAULT_CHANNEL_MAX = 2047

log = Logger()


class Client(AMQClient):
    """
    One connection.

    :param role: ``consuming`` or ``publishing``, shown in RabbitMQ's own views.
    :param clock: the reactor's clock.
    :ivar refusal: code and text of the ``connection.close`` RabbitMQ sent.
    :ivar blocked: True while RabbitMQ does not read what is published.
    :ivar on_blocked: called when that changes, with RabbitMQ's reason.
    :ivar heartbeat_interval: seconds, as agreed with RabbitMQ; 0 without heartbeats.
    :ivar last_received: when data last arrived, in the clock's seconds.
    :ivar server: RabbitMQ's properties (``product``, ``version``), once it has sent them.
    :ivar misfit: True where the peer cannot be used at all: it is no RabbitMQ, or wants to be talked to differently.
    """

    def __init__(
        self, parameters: ConnectionParameters, role: str, clock: Any, answer_timeout: float = ANSWER_TIMEOUT
    ) -> None:
        super().__init__(Delegate(), parameters.vhost, load_spec(), heartbeat=0, clock=clock)
        self.refusal: Optional[tuple[int, str]] = None
        self.blocked = False
        self.on_blocked: Callable[[bool, str], None] = lambda blocked, reason: None
        self.frame_max = DEFAULT_FRAME_MAX
        self.opened = False
        self.misfit = False
        self.server: dict[str, Any] = {}
        self.last_received = clock.seconds()
        self.parameters = parameters
        self.role = role
        self._answer_timeout = answer_timeout
        self._channel_max = DEFAULT_CHANNEL_MAX
        self._reader = FrameReader(self._slow_frame, DEFAULT_FRAME_MAX)
        self._gone: list[Deferred[None]] = []
        self._why: Optional[str] = None
        self.lost_reason: Optional[Failure] = None
        self.heartbeat_interval = 0
        self._heartbeats: Optional[HeartbeatMonitor] = None
        self._closing: Any = None
        self._greeted = False
        self._retirement = ChannelRetirement(self, self._forget)

    def tune(self, channel_max: int, frame_max: int, heartbeat: int) -> tuple[int, int, int]:
        """
        Agree to the limits, and start the heartbeats.

        :return: what to answer: channels, frame size in bytes, seconds.
        """
        self._channel_max = channel_max or DEFAULT_CHANNEL_MAX
        self.frame_max = self.MAX_LENGTH = self._reader.frame_max = frame_max or DEFAULT_FRAME_MAX
        ours = math.ceil(self.parameters.heartbeat)
        self.heartbeat_interval = interval = min(ours, heartbeat or ours, 65535)
        if interval > 0:
            self._heartbeats = HeartbeatMonitor(self.clock, interval, self._send_heartbeat, self._timed_out)
        return self._channel_max, self.frame_max, interval

    # Reading and writing

    def send_init_string(self) -> None:
        """Ask for AMQP 0-9-1; txamqp would ask for 0-9."""
        self.transport.write(b"AMQP\0\0\x09\x01")

    def connectionMade(self) -> None:
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        self.last_received = self.clock.seconds()
        if self._heartbeats is not None:
            self._heartbeats.heard()
        if not self._greeted:
            self._greeted = True
            foreign = foreign_protocol(data)
            if foreign is not None:
                self.refuse_peer(foreign)
                return
        try:
            self._reader.feed(data)
        except ValueError as error:
            self.give_up(f"RabbitMQ sent what is not AMQP: {error}")
        except Exception:  # whatever it was, the state of this connection is unknown now
            log.failure("Reading from RabbitMQ failed; reconnecting")
            self.give_up("reading from RabbitMQ failed")

    def _slow_frame(self, data: bytes) -> None:
        frame = decode_frame(self.spec, data)
        if frame.payload.type in (Frame.HEADER, Frame.BODY):
            raise FrameError("content came without the method that announces it")
        if self._retirement.takes(frame):
            return
        self.process_frame(frame).addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        log.failure("A method that RabbitMQ sent could not be handled; reconnecting", failure)
        self.give_up("a method that RabbitMQ sent could not be handled")

    def _pack_frame(self, frame: Frame) -> bytes:
        return encode_frame(frame)

    def _unpack_frame(self, data: bytes) -> Frame:
        return decode_frame(self.spec, data)

    def writer(self, frame: Frame) -> None:
        """Write one frame. What cannot be packed ends the connection instead of stopping the writing."""
        try:
            data = encode_frame(frame)
        except Exception:
            log.failure("A frame for RabbitMQ could not be packed; reconnecting")
            self.give_up("a frame could not be packed")
            return
        self.transport.write(data)
        self.outgoing.get().addCallback(self.writer)

    def write(self, data: bytes) -> None:
        """Write frames that are packed already."""
        self.transport.write(data)

    def _send_heartbeat(self) -> None:
        self.transport.write(HEARTBEAT_FRAME)

    def _timed_out(self) -> None:
        self.give_up("RabbitMQ has sent nothing for two heartbeat intervals")

    # Calls

    async def handshake(self) -> None:
        """
        Log in and enter the vhost.

        :raises ConnectionGone: it did not work; :attr:`refusal` may say why.
        """
        timeout = self.connection_timeout("the handshake")
        try:
            await self.started.wait()
        except Closed:
            raise ConnectionGone(self.why()) from None
        finally:
            timeout.stop()
        await self.call(await self.channel(0), "connection_open", virtual_host=self.vhost)
        self.opened = True

    async def open_channel(self, **about: str) -> AMQChannel:
        """
        Open a channel of a free number.

        :param about: what it is for, in log lines: a ``queue`` or a ``connector``.
        :raises ChannelRefused: no number is free, or there was no answer.
        :raises ConnectionGone: the connection is gone.
        """
        number = next((n for n in range(1, self._channel_max + 1) if n not in self.channels), None)
        if number is None:
            raise NoFreeChannel(self._channel_max)
        self._retirement.note(number, about)
        channel = await self.channel(number)
        await self.call(channel, "channel_open")
        return channel

    async def close_channel(self, channel: AMQChannel) -> None:
        """
        Close a channel and free its number.

        :raises ChannelRefused: there was no answer.
        :raises ConnectionGone: the connection is gone.
        """
        if not channel.closed:
            self._reader.receivers.pop(channel.id, None)
            await self.call(channel, "channel_close", reply_code=200, reply_text="done")
            channel.close(None)
            self._forget(channel.id)

    async def call(self, channel: AMQChannel, method: str, **fields: Any) -> Any:
        """
        Call a method and await its answer, for a bounded time. A channel whose call is
        not answered is retired: txamqp cannot forget a call, and would take a late answer
        for that of the next one.

        :raises ChannelRefused: RabbitMQ closed the channel instead; :exc:`NoAnswer`: there was no
            answer in time.
        :raises ConnectionGone: the connection is gone.
        """
        if self.closed:
            raise ConnectionGone(self.why())
        if channel.id:
            timeout = CallTimeout(self, self._answer_timeout, lambda: self._retire(channel, method))
        else:
            timeout = self.connection_timeout(method)
        try:
            return await getattr(channel, method)(**fields)
        except ChannelClosed as error:
            message = error.args[0]
            raise ChannelRefused(message.reply_code, message.reply_text) from None
        except (Closed, QueueClosed) as error:
            reason = error.args[0] if error.args else None
            if isinstance(reason, NoAnswer):
                raise NoAnswer(method, self._answer_timeout) from None
            raise ConnectionGone(self.why()) from None
        finally:
            timeout.stop()

    def connection_timeout(self, what: str) -> CallTimeout:
        """A timeout after which the connection is given up."""
        words = f"RabbitMQ did not answer {what} within {self._answer_timeout:g} s"
        return CallTimeout(self, self._answer_timeout, lambda: self.give_up(words))

    def _retire(self, channel: AMQChannel, method: str) -> None:
        """Close a channel whose call was not answered, and fail the call."""
        if method == "channel_close":
            self.give_up("RabbitMQ did not answer channel.close")
            return
        self._reader.receivers.pop(channel.id, None)
        self._retirement.begin(channel, NoAnswer(method, self._answer_timeout))

    def attach(self, channel: AMQChannel, receiver: Receiver) -> None:
        """Give what arrives on a channel to ``receiver``."""
        self._reader.receivers[channel.id] = receiver

    def tell_cancelled(self, number: int, consumer_tag: str) -> None:
        """RabbitMQ cancelled a consumer."""
        receiver = self._reader.receivers.get(number)
        if receiver is not None:
            receiver.cancelled(consumer_tag)

    def set_blocked(self, blocked: bool, reason: str) -> None:
        """RabbitMQ stops reading what is published, or reads again."""
        self.blocked = blocked
        self.on_blocked(blocked, reason)

    def channel_failed(self, channel: AMQChannel, reason: Failure) -> None:
        """RabbitMQ closed a channel; its number is free again."""
        message: Any = reason.value
        receiver = self._reader.receivers.get(channel.id)
        self._forget(channel.id)
        if receiver is not None:
            receiver.closed(ChannelRefused(message.reply_code, message.reply_text))

    def _forget(self, number: int) -> None:
        self._reader.forget(number)
        self.channels.pop(number, None)

    # How a connection ends

    def gone(self) -> Deferred[None]:
        """Fires when the connection is gone, at once if it is."""
        done: Deferred[None] = Deferred()
        if self.lost_reason is not None:
            done.callback(None)
        else:
            self._gone.append(done)
        return done

    def why(self) -> str:
        """Why the connection ended, in words."""
        if self.refusal is not None:
            return "RabbitMQ closed it: {} {}".format(*self.refusal)
        if self._why is not None:
            return self._why
        if self.lost_reason is not None:
            return self.lost_reason.getErrorMessage()
        return "it is being closed"

    def refuse_peer(self, why: str) -> None:
        """Give up a connection to a peer that cannot be used at all, as a person has to be told."""
        self.misfit = True
        self.give_up(why)

    def give_up(self, why: str) -> None:
        """Abort a connection that cannot be used any longer, without closing it by AMQP."""
        if self._why is None:
            self._why = why
        self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._reader.stop()
        if self.lost_reason is None and self.transport is not None:
            self.transport.abortConnection()

    def shut_down(self, timeout: float) -> Deferred[None]:
        """
        Close by AMQP's connection.close, but wait no longer than ``timeout`` seconds for the answer.

        :return: fires when the connection is gone.
        """
        self._why = "we closed it"
        if self.opened and not self.closed and self.lost_reason is None:
            self.bound_closing(timeout)
            closing = self.channels[0].connection_close(reply_code=200, reply_text="goodbye")
            closing.addCallbacks(lambda _: self.transport.loseConnection(), lambda _: None)
        else:
            self.abort()
        return self.gone()

    def bound_closing(self, timeout: float = CLOSING_TIMEOUT) -> None:
        """Abort the connection unless it is gone by itself in ``timeout`` seconds."""
        if self._closing is None and self.lost_reason is None:
            self._closing = self.clock.callLater(timeout, self.abort)

    def do_close(self, reason: Any) -> None:
        """Fail what waits for an answer. As in txamqp, but channels may be forgotten meanwhile."""
        self.closed = True
        for channel in list(self.channels.values()):
            channel.close(reason)
        self.delegate.close(reason)

    def connectionLost(self, reason: Failure) -> None:
        self.lost_reason = reason
        self._reader.stop()
        self._retirement.stop()
        if self._heartbeats is not None:
            self._heartbeats.stop()
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        super().connectionLost(reason)
        gone, self._gone = self._gone, []
        for done in gone:
            done.callback(None)
