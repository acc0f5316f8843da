"""What can go wrong between us and RabbitMQ, as this package sees it."""

from __future__ import annotations


class ConnectionGone(Exception):
    """The connection is gone, or was given up; its text says why."""


class ChannelRefused(Exception):
    """
    RabbitMQ closed a channel and said why.

    :ivar code: AMQP's reply code (403 no permission, 404 missing, 406 differs).
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return f"{self.code} {self.text}"
