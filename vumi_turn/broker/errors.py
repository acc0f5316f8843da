"""Why a broker has not taken a message."""

from __future__ import annotations


class BrokerError(Exception):
    """The broker has not taken the message; publishing it again may work, unless the subclass says otherwise."""


class BrokerUnavailable(BrokerError):
    """There is no usable connection: not connected, blocked, or too much is unconfirmed. Nothing was sent."""


class ConnectionLost(BrokerError):
    """The connection, or the AMQP channel, was lost: whether the broker has the message is unknown."""


class Nacked(BrokerError):
    """The broker refused the message (``basic.nack``): its queue is full, or the broker has an internal error."""


class Returned(BrokerError):
    """No queue took the message, also after declaring the queue again."""


class MessageTooLarge(BrokerError):
    """
    The message is larger than the broker takes; publishing it again cannot work.

    :ivar limit: the broker's ``max_message_size``, in bytes of the body.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"the message is larger than the {limit} bytes that the broker takes (max_message_size)")
        self.limit = limit
