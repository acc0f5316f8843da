"""
What sessions, menus and joining cost: the worker's CPU time of each message,
beside that of a plain one. One call is one run.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Sequence

from benchmarks.figures import INBOUND, LIMIT, OUTBOUND, Bench
from benchmarks.outbound import CONNECTIONS, posted
from benchmarks.rig import cpu_seconds, inbound_message
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

#: People with menus, each of whom answers many times.
PEOPLE = 1_000

MENU = {
    "type": "interactive",
    "interactive": {
        "type": "button",
        "body": {"text": "How can we help?"},
        "action": {"buttons": [{"type": "reply", "reply": {"id": str(n), "title": f"Option {n}"}} for n in (1, 2, 3)]},
    },
}


class Journeys:
    """
    :param bench: the servers.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def figures(self) -> dict[str, Callable[[], dict[str, float]]]:
        """All of them; what is compared stands side by side."""
        return {
            "POST outside a session, nothing joined": lambda: self.posts(None, 0.0),
            "POST outside a session": lambda: self.posts(None, 1.0),
            "POST in a session, nothing joined": lambda: self.posts("new", 0.0),
            "POST in a session": lambda: self.posts("new", 1.0),
            "typed, plain text": lambda: self.typed(None, False),
            "typed in a session, no menu": lambda: self.typed("resume", False),
            "typed in a session, a menu's number": lambda: self.typed("resume", True),
        }

    def posts(self, session_event: Optional[str], window: float) -> dict[str, float]:
        """
        Turn's messages that wait for an answer, each to another person who has written before.

        :param session_event: of what they wrote.
        :param window: ``join_window``.
        """
        count = self._bench.count(8_000, 50)
        with self._worker(join_window=window) as worker:
            self._say(worker, session_event, "1", range(count))
            before = cpu_seconds(worker.pid)
            self._post(worker.port, [message_body(number, text(number)) for number in range(count)])
            cpu = cpu_seconds(worker.pid) - before
            if self._bench.queues.ready(OUTBOUND) < count:
                raise AssertionError("not all that was answered 200 is at the broker")
            return {"cpu_us": cpu / count * 1e6}

    def typed(self, session_event: Optional[str], menu: bool) -> dict[str, float]:
        """
        People's short texts, each of which is the number of a choice where there is a menu.

        :param session_event: of the texts.
        :param menu: whether each person has one.
        """
        count, people = self._bench.count(20_000, 200), self._bench.count(PEOPLE, 20)
        with self._worker() as worker:
            self._say(worker, session_event and "new", "1", range(people))
            say = MENU if menu else None
            self._post(worker.port, [message_body(number, say or text(number)) for number in range(people)])
            before = cpu_seconds(worker.pid)
            self._say(worker, session_event, "2", [number % people for number in range(count)])
            return {"cpu_us": (cpu_seconds(worker.pid) - before) / count * 1e6}

    @contextmanager
    def _worker(self, **config: Any) -> Iterator[Worker]:
        for queue in (INBOUND, OUTBOUND):
            self._bench.queues.purge(queue)
        worker = self._bench.worker(self._bench.nginx.url, **config)
        try:
            worker.start()
            yield worker
        finally:
            worker.close()
            self._bench.queues.purge(OUTBOUND)

    def _say(self, worker: Worker, session_event: Optional[str], content: str, numbers: Sequence[int]) -> None:
        """People write, and Turn has all of it."""
        arrived = self._bench.arriving()
        bodies = []
        for number in numbers:
            message = json.loads(inbound_message(number))
            kind = "sms" if session_event is None else "ussd"
            message.update(from_addr=address(number), session_event=session_event, content=content, transport_type=kind)
            bodies.append(json.dumps(message).encode("ascii"))
        self._bench.queues.publish(INBOUND, bodies)
        wait_for(lambda: arrived() >= len(bodies), f"{len(bodies)} messages at Turn", LIMIT)

    @staticmethod
    def _post(port: int, bodies: Sequence[bytes]) -> None:
        """POST each body once, over several connections; all are answered 200."""
        requests = [posted(body) for body in bodies]
        answered: list[int] = []

        def client(index: int) -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
                for request in requests[index::CONNECTIONS]:
                    connection.sendall(request)
                    answer = connection.recv(65536)
                    while answer and not answer.endswith(b"}]}"):
                        answer += connection.recv(65536)
                    if not answer.startswith(b"HTTP/1.1 200 "):
                        raise AssertionError(f"answered {answer!r}")
                    answered.append(1)

        threads = [threading.Thread(target=client, args=(index,)) for index in range(CONNECTIONS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(answered) < len(requests):
            raise AssertionError("some clients failed")


def address(number: int) -> str:
    """One person's."""
    return f"+266123{number:05}"


def text(number: int) -> dict[str, Any]:
    """A text that fits a screen."""
    return {"type": "text", "text": {"body": f"How old are you? {number}"}}


def message_body(number: int, turn: dict[str, Any]) -> bytes:
    """What Turn POSTs to one person."""
    value = {"to": address(number), "from": None, "reply_to": None, "turn": turn, "waiting_for_user_input": True}
    return json.dumps(value).encode("ascii")
