"""Closing an AMQP channel on which a call was not answered, without the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, Mapping

from twisted.logger import Logger
from txamqp.connection import Frame
from txamqp.protocol import AMQChannel

from .call_timeout import CallTimeout
from .errors import NoAnswer
from .frames import pack_channel_close, pack_channel_close_ok

if TYPE_CHECKING:
    from .client import Client

log = Logger()


class ChannelRetirement:
    """
    Closes channels past txamqp, which cannot forget a call: it would take a late answer
    for that of the next one. A channel's number stays taken until RabbitMQ has
    answered the close; without that answer the connection is given up.

    :param client: the connection.
    :param closed: called with the number of a channel that is closed.
    """

    def __init__(self, client: Client, closed: Callable[[int], None]) -> None:
        self._client = client
        self._closed = closed
        self._timeouts: dict[int, CallTimeout] = {}
        self._about: dict[int, Mapping[str, str]] = {}

    def note(self, number: int, about: Mapping[str, str]) -> None:
        """
        Keep what a channel is for, until its number is another one's.

        :param about: fields of log lines: a ``queue`` or a ``connector``.
        """
        self._about[number] = about

    def begin(self, channel: AMQChannel, error: NoAnswer) -> None:
        """
        Close a channel, and fail its calls.

        :param error: what they fail with, as txamqp's ``Closed``.
        """
        about = self._about.get(channel.id, {})
        which = f" ({about['queue']})" if "queue" in about else ""
        log.warn("{reason}: closing that AMQP channel{which}", reason=str(error), which=which, **about)
        self._timeouts[channel.id] = self._client.connection_timeout("channel.close")
        self._client.write(pack_channel_close(channel.id))
        channel.close(error)

    def takes(self, frame: Frame) -> bool:
        """
        Handle a frame of a channel that is being closed: all but the answer to the close is late.

        :return: whether the frame was of such a channel.
        """
        if frame.channel not in self._timeouts:
            return False
        name = frame.payload.method.name if frame.payload.type == Frame.METHOD else ""
        if name == "close":
            self._client.write(pack_channel_close_ok(frame.channel))
        if name in ("close", "close-ok"):
            self._timeouts.pop(frame.channel).stop()
            self._closed(frame.channel)
        return True

    def stop(self) -> None:
        """The connection is gone."""
        for timeout in self._timeouts.values():
            timeout.stop()
