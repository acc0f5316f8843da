"""What can go wrong between us and RabbitMQ, as this package sees it."""

from __future__ import annotations

#: What is said of a stream; RabbitMQ itself says nothing where it made one by the vhost's default.
IS_A_STREAM = "it is a stream, which workers cannot consume: make it a classic or a quorum queue"


class ConnectionGone(Exception):
    """The connection is gone, or was given up; its text says why."""


class ChannelRefused(Exception):
    """
    A channel cannot be used any longer; the connection can.

    :ivar code: AMQP's reply code (403 no permission, 404 missing, 405 locked,
        406 differs), 0 where RabbitMQ has not closed the channel itself.
    :ivar text: the reason in words.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code} {self.text}" if self.code else self.text


class NoAnswer(ChannelRefused):
    """A call got no answer in time, so its channel was retired: a late answer would be taken for the next call's."""

    def __init__(self, method: str, seconds: float) -> None:
        super().__init__(0, f"RabbitMQ did not answer {method} within {seconds:g} s")


class NoFreeChannel(ChannelRefused):
    """The connection has as many channels as RabbitMQ allows."""

    def __init__(self, channel_max: int) -> None:
        super().__init__(
            0,
            f"RabbitMQ allows {channel_max} {'channel' if channel_max == 1 else 'channels'} on a connection and all "
            "are in use: raise its channel_max",
        )
