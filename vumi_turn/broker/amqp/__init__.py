"""
RabbitMQ by txamqp: the broker that vumi workers share.

This package is the only user of txamqp. From the bottom up: ``tables`` and
``codec`` (values), ``frames`` (the fast path), ``client`` (one connection),
``link`` (a connection that mends itself), ``consumer`` and ``publisher`` (what
a connection is for), ``broker`` (the two of them as one).
"""

from __future__ import annotations

from .broker import AmqpBroker
from .parameters import ConnectionParameters

__all__ = ["AmqpBroker", "ConnectionParameters"]
