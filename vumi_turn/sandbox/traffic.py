"""
The traffic: what passes between phone network, worker and Turn, as it passes.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ..timing.clock import wall_clock_of

#: How many lines are kept.
KEEP = 500

#: A larger body is shown cut, in bytes.
MAX_SHOWN = 8192

#: Headers whose value is nobody's business.
SECRET_HEADERS = frozenset({"authorization", "x-turn-hook-signature", "cookie"})

#: Where messages, events, failure messages and Turn's JSON have their ids.
ID_KEYS = ("message_id", "user_message_id", "in_reply_to", "reply_to", "id")
INNER_KEYS = ("message", "status", "messages")

Subscriber = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Exchange:
    """A request, for its response: its number, whose and where it is, its ids, and when it passed (monotonic)."""

    number: int
    who: str
    where: str
    ids: tuple[str, ...]
    at: float


class TrafficLog:
    """
    The last lines of what passed, and who wants to see the next ones.

    :param clock: says when.
    :ivar on_line: called with each line, after the subscribers.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._lines: deque[dict[str, Any]] = deque(maxlen=KEEP)
        self._subscribers: list[Subscriber] = []
        self.on_line: Callable[[Mapping[str, Any]], None] = lambda line: None
        self._last_number = 0
        self._last_exchange = 0

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call ``subscriber`` with the name and the details of each event; returns how to end that."""
        self._subscribers.append(subscriber)

        def unsubscribe() -> None:
            if subscriber in self._subscribers:
                self._subscribers.remove(subscriber)

        return unsubscribe

    def say(self, name: str, details: Mapping[str, Any]) -> None:
        """Tell subscribers of a change."""
        for subscriber in list(self._subscribers):
            subscriber(name, details)

    def amqp(self, what: str, who: str, queue: str, body: bytes, **more: Any) -> None:
        """
        A message passes between the broker and somebody.

        :param what: ``publish``, ``refused`` (a publish that failed),
            ``deliver``, ``ack`` or ``requeue``; the last two show no body
            again.
        :param who: that somebody: ``network``, ``worker`` or ``page``.
        :param queue: the queue, or the routing key that goes by its name.
        """
        value = json_of(body)
        line = {"protocol": "amqp", "what": what, "who": who, "where": queue, "ids": ids_of(value), **more}
        if what in ("publish", "deliver"):
            line["body"] = value
        self._add(line)

    def request(self, who: str, where: str, body: bytes, headers: Optional[Mapping[str, str]] = None) -> Exchange:
        """
        A request passes.

        :param who: whose request it is: ``worker`` or ``turn``.
        :param where: method and path.
        :return: to be given to :meth:`response` with its answer.
        """
        self._last_exchange += 1
        value = json_of(body)
        exchange = Exchange(self._last_exchange, who, where, tuple(ids_of(value)), self._clock.seconds())
        self._add_http(exchange, "request", exchange.ids, value if body else None, headers)
        return exchange

    def response(
        self,
        exchange: Exchange,
        status: Optional[int],
        body: bytes = b"",
        headers: Optional[Mapping[str, str]] = None,
        reason: Optional[str] = None,
    ) -> None:
        """
        An answer passes, or there is none.

        :param exchange: the request that it answers.
        :param status: None where nobody answered.
        :param reason: why there was no answer, where that is known.
        """
        value = json_of(body)
        ids = tuple(dict.fromkeys((*exchange.ids, *ids_of(value))))
        seconds = self._clock.seconds() - exchange.at
        more = {"status": status, "seconds": round(seconds, 4), **({} if reason is None else {"reason": reason})}
        self._add_http(exchange, "response", ids, value if body else None, headers, **more)

    def _add_http(
        self,
        exchange: Exchange,
        what: str,
        ids: tuple[str, ...],
        body: Any,
        headers: Optional[Mapping[str, str]],
        **more: Any,
    ) -> None:
        line: dict[str, Any] = {"protocol": "http", "what": what, "who": exchange.who, "where": exchange.where}
        line.update(more, ids=list(ids), exchange=exchange.number)
        if headers is not None:
            line["headers"] = masked(headers)
        if body is not None:
            line["body"] = body
        self._add(line)

    def clear(self) -> None:
        """Forget all lines; numbers go on."""
        self._lines.clear()

    def lines(self, since: int = 0, message: Optional[str] = None) -> list[dict[str, Any]]:
        """
        :param since: only lines with a higher number.
        :param message: only lines that name this message id.
        """
        return [line for line in self._lines if line["number"] > since and (message is None or message in line["ids"])]

    def _add(self, line: dict[str, Any]) -> None:
        self._last_number += 1
        line = {"number": self._last_number, "at": self._wall(), "clock": round(self._clock.seconds(), 4), **line}
        self._lines.append(line)
        self.say("traffic", line)
        self.on_line(line)


def masked(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with their secrets as ``***``."""
    return {name: "***" if name.lower() in SECRET_HEADERS else value for name, value in headers.items()}


def json_of(body: bytes) -> Any:
    """A body as it is shown: JSON where it is JSON of a reasonable size, else text."""
    if len(body) <= MAX_SHOWN:
        text = body.decode("utf-8", "replace")
        try:
            value = json.loads(text)
            json.dumps(value, allow_nan=False)
            return value
        except (ValueError, RecursionError):
            return text
    return body[:MAX_SHOWN].decode("utf-8", "replace") + f" … ({len(body)} bytes)"


def ids_of(value: Any) -> list[str]:
    """Each message id that a body names, wherever it does."""
    found: dict[str, None] = {}

    def look(thing: Any, depth: int) -> None:
        if not isinstance(thing, dict) or depth > 3:
            return
        for key in ID_KEYS:
            name = thing.get(key)
            if isinstance(name, str) and name:
                found[name] = None
        for key in INNER_KEYS:
            inner = thing.get(key)
            for item in inner if isinstance(inner, list) else [inner]:
                look(item, depth + 1)

    look(value, 0)
    return list(found)
