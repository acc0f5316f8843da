"""
The wire: what passes between phone network, worker and Turn, as it passes.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any, Callable, Mapping, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from ..vumi.broker import Broker, Consumer, Delivery, Handler, Outcome, Publisher

#: How many lines are kept.
KEEP = 500

#: Headers whose value is nobody's business.
SECRET_HEADERS = frozenset({"authorization", "x-turn-hook-signature"})

Subscriber = Callable[[dict[str, Any]], None]


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with their secrets as ``***``."""
    return {name: "***" if name.lower() in SECRET_HEADERS else value for name, value in headers.items()}


class Wire:
    """
    The last lines of what passed, and who wants to see the next ones.

    :param clock: says when.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEEP)
        self._subscribers: list[Subscriber] = []
        self._number = 0

    def say(self, name: str, details: Mapping[str, Any]) -> None:
        """Tell subscribers of a change that is no line of the wire."""
        for subscriber in list(self._subscribers):
            subscriber({"event": name, **details})

    def amqp(self, what: str, queue: str, body: bytes, **more: Any) -> None:
        """An AMQP message passes: ``what`` is ``publish``, ``deliver``, ``ack`` or ``requeue``."""
        value = _json_of(body)
        ids = _ids_of(value)
        self._line({"protocol": "amqp", "what": what, "where": queue, "ids": ids, "body": value, **more})

    def http(
        self, what: str, where: str, body: bytes, status: Optional[int], headers: Mapping[str, str]
    ) -> None:
        """An HTTP request has passed; ``status`` is None where nobody answered."""
        value = _json_of(body)
        self._line(
            {
                "protocol": "http",
                "what": what,
                "where": where,
                "status": status,
                "headers": masked(headers),
                "ids": _ids_of(value),
                "body": value,
            }
        )

    def lines(self, since: int = 0, message: Optional[str] = None) -> list[dict[str, Any]]:
        """
        :param since: only lines with a higher number.
        :param message: only lines that name this message id.
        """
        return [
            line
            for line in self._lines
            if line["number"] > since and (message is None or message in line["ids"])
        ]

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with each event from now on; returns how to end that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def _line(self, line: dict[str, Any]) -> None:
        self._number += 1
        line["number"] = self._number
        line["at"] = self._clock.seconds()
        self._lines.append(line)
        self.say("wire", {"line": line})


def _json_of(body: bytes) -> Any:
    text = body.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _ids_of(value: Any) -> list[str]:
    """Each message id that a body names, wherever it does."""
    found: list[str] = []

    def look(thing: Any, depth: int) -> None:
        if not isinstance(thing, dict) or depth > 3:
            return
        for key in ("message_id", "user_message_id", "in_reply_to", "reply_to", "id"):
            name = thing.get(key)
            if isinstance(name, str) and name not in found:
                found.append(name)
        for key in ("message", "status", "messages"):
            inner = thing.get(key)
            for item in inner if isinstance(inner, list) else [inner]:
                look(item, depth + 1)

    look(value, 0)
    return found


class ObservedBroker(Broker):
    """
    A broker that shows on the wire what passes through it.

    :param broker: the one that does the work.
    :param wire: where it is shown.
    """

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self._broker = broker
        self._wire = wire

    @property
    def state(self) -> str:  # type: ignore[override]
        return self._broker.state

    @property
    def reconnects(self) -> int:  # type: ignore[override]
        return self._broker.reconnects

    def start(self) -> None:
        self._broker.start()

    def stop(self, timeout: Optional[float] = None) -> Deferred[None]:
        return self._broker.stop(timeout)

    def consume(self, queue: str, handler: Handler, prefetch: int) -> Consumer:
        async def observed(delivery: Delivery) -> Outcome:
            self._wire.amqp("deliver", queue, delivery.body, redelivered=delivery.redelivered)
            outcome = await handler(delivery)
            self._wire.amqp(outcome.value, queue, delivery.body)
            return outcome

        return self._broker.consume(queue, observed, prefetch)

    def publisher(self, routing_key: str) -> Publisher:
        return _ObservedPublisher(self._broker.publisher(routing_key), routing_key, self._wire)

    def transient_publisher(self, exchange: str, routing_key: str) -> Publisher:
        return self._broker.transient_publisher(exchange, routing_key)


class _ObservedPublisher(Publisher):
    def __init__(self, publisher: Publisher, routing_key: str, wire: Wire) -> None:
        self._publisher = publisher
        self._routing_key = routing_key
        self._wire = wire

    def publish(self, body: bytes) -> Deferred[None]:
        self._wire.amqp("publish", self._routing_key, body)
        return self._publisher.publish(body)
