"""The messages of vumi."""

from .base import generate_id
from .encoding import MalformedMessage, format_vumi_date, parse_vumi_date
from .events import FailureMessage, TransportEvent
from .user_message import TransportUserMessage

__all__ = [
    "FailureMessage",
    "MalformedMessage",
    "TransportEvent",
    "TransportUserMessage",
    "format_vumi_date",
    "generate_id",
    "parse_vumi_date",
]
