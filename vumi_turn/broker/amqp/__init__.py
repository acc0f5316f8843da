"""
RabbitMQ by txamqp: the broker that vumi workers share.

This package is the only user of txamqp. From the bottom up: ``tables`` and
``codec`` (values), ``frames`` (the fast path), ``client`` (one connection),
``robust_connection`` (a connection that is made again when it is lost), ``consumer`` and ``publisher`` (what
a connection is for), ``broker`` (both connections).
"""

from __future__ import annotations

from .broker import AmqpBroker
from .parameters import ConnectionParameters

__all__ = ["AmqpBroker", "ConnectionParameters"]
