"""POSTs of Turn's that go on while something happens to the worker."""

from __future__ import annotations

import threading
from typing import Optional

from tests.integration.http_peer import HttpPeer, Response, outbound
from tests.integration.process import PATIENCE
from tests.integration.vumi_words import new_person
from tests.integration.waiting import wait_for

#: Turn's own limit for an answer, in seconds.
TURN_WAITS = 5.0


class Posts:
    """
    Turn, which POSTs all the while, each time on a connection of its own.

    :param port: where to.
    :param secret: what they are signed with.
    """

    def __init__(self, port: int, secret: str) -> None:
        self.answers: list[Optional[Response]] = []
        self._peer = HttpPeer(port, secret)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._post, daemon=True) for _ in range(3)]
        for thread in self._threads:
            thread.start()

    def _post(self) -> None:
        while not self._ended.wait(0.01):
            try:
                self.answers.append(self._peer.post(outbound(new_person()), TURN_WAITS))
            except OSError:
                self.answers.append(None)

    def wait_for_more(self, count: int = 20) -> None:
        """Wait until so many more were answered."""
        before = len(self.answers)
        wait_for(lambda: len(self.answers) >= before + count, f"{count} more POSTs", PATIENCE)

    def end(self) -> list[Optional[Response]]:
        """What was answered to each; None where nothing was."""
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
        return self.answers

    @property
    def refused(self) -> list[Optional[Response]]:
        """What was answered that is no 200."""
        return [answer for answer in self.answers if answer is None or answer.status != 200]
