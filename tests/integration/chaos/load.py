"""The load: people who speak, Turn that asks, and the network between them; each a thread or some."""

from __future__ import annotations

import heapq
import json
import random
import threading
import time
from http.client import HTTPException
from typing import Any, Callable, Iterator, Optional, Sequence

import pika
from pika.exceptions import AMQPError

from tests.integration.amqp_peer import EXCHANGE, AmqpPeer
from tests.integration.chaos.ledger import JUNK, KEY, MESSAGE, NOTHING, STATUS, TO_TURN, Asked, Attempt, Found, Ledger
from tests.integration.chaos.plan import LONG, MENU, Asking, Saying
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.vumi_words import event, inbound

#: What a broken connection may raise in pika; the last one by its timers.
BROKEN = (AMQPError, OSError, ValueError)

#: What people type to see the next page.
NEXT = "98"

#: What the texts of Turn's messages begin with, by which they are found again.
MARKER = "asking "

PERSISTENT = pika.BasicProperties(delivery_mode=2)

#: Turn waits so long for an answer, and so long before it asks again, in seconds.
PATIENCE, PAUSES = 5.0, (0.5, 1.5)


class Loads:
    """Threads that end when told to, and whose exceptions are not lost."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.failures: list[BaseException] = []
        self._threads: list[threading.Thread] = []

    def start(self, *targets: Callable[[], None]) -> None:
        """Run each in a thread."""
        for target in targets:
            thread = threading.Thread(target=self._run, args=(target,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def join(self, seconds: float) -> None:
        """Wait for all of them; raises what one of them raised."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.1))
            assert not thread.is_alive(), "a part of the load did not end"
        if self.failures:
            raise self.failures[0]

    def _run(self, target: Callable[[], None]) -> None:
        try:
            target()
        except BaseException as error:  # raised again by join, in the test's own thread
            self.failures.append(error)
            self.over.set()


class Line:
    """A connection to RabbitMQ that outlives it."""

    def __init__(self, port: int, loads: Loads) -> None:
        self._port = port
        self._loads = loads
        self._peer = AmqpPeer(port)

    def channel(self) -> Any:
        """An open channel, as soon as there is one; None when all is over."""
        while not self._loads.over.is_set():
            try:
                return self._peer.channel
            except BROKEN:
                self.broken()
                time.sleep(0.1)
        return None

    def broken(self) -> None:
        """Something was raised: begin again with another connection."""
        self.close()
        self._peer = AmqpPeer(self._port)

    def close(self) -> None:
        """Disconnect."""
        try:
            self._peer.close()
        except BROKEN:
            pass

    def publish(self, queue: str, value: Any) -> Optional[bool]:
        """True if it is confirmed, False if nobody knows, None if it was not tried."""
        channel = self.channel()
        if channel is None:
            return None
        try:
            channel.basic_publish(EXCHANGE, queue, json.dumps(value).encode("ascii"), PERSISTENT, mandatory=True)
        except BROKEN:
            self.broken()
            return False
        return True


class Speaker:
    """What people say goes into the inbound queue, in their order."""

    def __init__(
        self, ledger: Ledger, loads: Loads, port: int, connector: str, sayings: Sequence[Saying], seed: int
    ) -> None:
        self._ledger = ledger
        self._loads = loads
        self._line = Line(port, loads)
        self._queue = f"{connector}.inbound"
        self._sayings = sayings
        self._rng = random.Random(f"speaker {seed}")
        self.done = False

    def run(self) -> None:
        """All of them, each at its time or as soon as there is a broker."""
        began = time.monotonic()
        for number, saying in enumerate(self._sayings):
            self._loads.over.wait(max(began + saying.at - time.monotonic(), 0))
            name = f"{self._rng.getrandbits(128):032x}"
            value = self._value(name, number, saying)
            if self._line.channel() is None:
                break
            said = self._ledger.say(MESSAGE, name, saying.person, saying.expect)
            said.certain = bool(self._line.publish(self._queue, value))
        self._line.close()
        self.done = True

    def _value(self, name: str, number: int, saying: Saying) -> dict[str, Any]:
        if saying.expect == JUNK:
            return {"message_id": name, "junk": True}
        if saying.expect == NOTHING:
            return inbound(message_id=name, from_addr=saying.person, content=None, session_event="close")
        if saying.expect == KEY:
            return inbound(message_id=name, from_addr=saying.person, content=NEXT if number % 2 else "1")
        return inbound(message_id=name, from_addr=saying.person, content=f"saying {number}")


class Network:
    """
    Takes what is in the outbound queue, a heap at a time, and reports on it.
    RabbitMQ has to keep the rest for it, also when it is killed.
    """

    def __init__(self, ledger: Ledger, loads: Loads, port: int, connector: str, refused: set[str], seed: int) -> None:
        self._ledger = ledger
        self._loads = loads
        self._line = Line(port, loads)
        self._connector = connector
        self._refused = refused
        self._rng = random.Random(f"network {seed}")
        self._reported: set[str] = set()
        self.hurry = False

    def run(self) -> None:
        """Until all is over."""
        while not self._loads.over.is_set():
            self._loads.over.wait(0.2 if self.hurry else self._rng.uniform(0.3, 2.0))
            channel = self._line.channel()
            try:
                while channel is not None and self._take(channel):
                    pass
            except BROKEN:
                self._line.broken()  # what was not acknowledged comes again
        self._line.close()

    def _take(self, channel: Any) -> bool:
        method, properties, body = channel.basic_get(f"{self._connector}.outbound")
        if method is None:
            return False
        value = json.loads(body)
        message_id = value["message_id"]
        markers = [line for line in value["content"].split("\n") if line.startswith(MARKER)]
        more = any(line.startswith(f"{NEXT}. ") for line in value["content"].split("\n"))
        for marker in markers:
            name = f"{properties.message_id} {marker}"
            found = Found(name, message_id, marker, time.monotonic(), value["to_addr"], more)
            self._ledger.found[name] = found
        if markers and message_id not in self._reported:  # of further pages Turn hears nothing
            self._reported.add(message_id)
            for kind, status in self._fate(markers):
                self._report(channel, kind, status, message_id)
        channel.basic_ack(method.delivery_tag)
        return True

    def _fate(self, markers: Sequence[str]) -> list[tuple[str, str]]:
        if self._refused.intersection(markers):
            return [("nack", "failed")]
        return [("ack", "sent"), ("delivery_report", "delivered")]

    def _report(self, channel: Any, kind: str, status: str, message_id: str) -> None:
        """On the channel that holds the message: a report that breaks it is not made again."""
        key = f"{message_id} {status}"
        said = self._ledger.say(STATUS, key, message_id, TO_TURN)
        said.certain = False
        body = json.dumps(event(kind, message_id)).encode("ascii")
        channel.basic_publish(EXCHANGE, f"{self._connector}.event", body, PERSISTENT, mandatory=True)
        said.certain = True


def _turn(form: str, marker: str) -> dict[str, Any]:
    """A message as Turn means it, the marker a line of its own on its first page."""
    text = marker
    if form == LONG:
        text = f"{marker}\n" + " ".join(f"word{number}" for number in range(50))
    if form == MENU:
        buttons = [{"type": "reply", "reply": {"id": title, "title": title}} for title in ("Yes", "No")]
        content = {"type": "button", "body": {"text": text}, "action": {"buttons": buttons}}
        return {"type": "interactive", "interactive": content}
    return {"type": "text", "text": {"body": text}}


class Asker:
    """Turn asks, from several connections; what is not answered 200 it asks again."""

    THREADS = 8

    def __init__(self, ledger: Ledger, loads: Loads, http: HttpPeer, askings: Sequence[Asking], seed: int) -> None:
        self._loads = loads
        self._http = http
        self._rng = random.Random(f"asker {seed}")
        self._lock = threading.Lock()
        self._due: list[tuple[float, int, Asking, Asked]] = []
        self.open = len(askings)
        self.refused: set[str] = set()
        began = time.monotonic()
        for number, asking in enumerate(askings):
            asked = Asked(f"{MARKER}{seed}-{number}", b"", person=asking.person)
            body = outbound(asking.person, asked.marker, waiting_for_user_input=bool(number % 4))
            body["turn"] = _turn(asking.form, asked.marker)
            asked.body = json.dumps(body).encode()
            ledger.asked.append(asked)
            if asking.refused:
                self.refused.add(asked.marker)
            self._due.append((began + asking.at, number, asking, asked))
        heapq.heapify(self._due)

    def run(self) -> None:
        """One of the threads."""
        for _due, number, asking, asked in self._next():
            attempt = self._ask(asked, asking.hasty and not asked.attempts)
            asked.attempts.append(attempt)
            with self._lock:
                if attempt.status == 200:
                    self.open -= 1
                else:
                    again = time.monotonic() + (0 if attempt.left else self._rng.uniform(*PAUSES))
                    heapq.heappush(self._due, (again, number, asking, asked))

    def _next(self) -> Iterator[tuple[float, int, Asking, Asked]]:
        while self.open and not self._loads.over.is_set():
            with self._lock:
                due = self._due[0][0] if self._due else float("inf")
                entry = heapq.heappop(self._due) if due <= time.monotonic() else None
            if entry is not None:
                yield entry
            else:
                self._loads.over.wait(0.01)

    def _ask(self, asked: Asked, hasty: bool) -> Attempt:
        began = time.monotonic()
        try:
            answer = self._http.post_bytes(asked.body, timeout=0.002 if hasty else PATIENCE)
            name = answer.message_id if answer.status == 200 else None
            return Attempt(began, time.monotonic(), answer.status, name)
        except TimeoutError:
            return Attempt(began, time.monotonic(), None, left=True)
        except (OSError, HTTPException):
            return Attempt(began, time.monotonic(), None)
