"""HTTP in memory, for the tests of the sandbox's servers."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from klein import Klein
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.web import Guard

JSON = {"Content-Type": "application/json"}


class MemoryHttp:
    """
    Asks a klein application, without a socket.

    :param case: the test.
    :param app: what is asked.
    :param bound: where it says that it listens.
    """

    def __init__(self, case: SynchronousTestCase, app: Klein, bound: str = "127.0.0.1") -> None:
        self._case = case
        self.treq = StubTreq(Guard(app.resource(), bound))

    def start(
        self, method: str, path: str, body: Any = None, headers: Optional[Mapping[str, str]] = None
    ) -> Deferred[Any]:
        """Ask, and come back before there is an answer."""
        data = None if body is None else json.dumps(body).encode()
        given = dict(headers) if headers is not None else ({} if body is None else JSON)
        answer: Deferred[Any] = self.treq.request(method, f"http://127.0.0.1:8010{path}", data=data, headers=given)
        self.treq.flush()
        return answer

    def read(self, asked: Deferred[Any]) -> tuple[int, Any]:
        """Status and JSON of an answer that is there."""
        self.treq.flush()
        response = self._case.successResultOf(asked)
        return response.code, json.loads(self._case.successResultOf(response.content()))

    def call(
        self, method: str, path: str, body: Any = None, headers: Optional[Mapping[str, str]] = None
    ) -> tuple[int, Any]:
        """Status and JSON of an answer that comes at once."""
        return self.read(self.start(method, path, body, headers))

    def details(self, method: str, path: str, body: Any = None, **more: Any) -> tuple[int, str]:
        """Status and sentence of a refusal."""
        status, value = self.call(method, path, body, **more)
        return status, value["errors"][0]["details"]
