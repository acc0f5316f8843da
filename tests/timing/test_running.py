"""Coroutines without a Deferred around them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.running import Running

NAME: ContextVar[str] = ContextVar("NAME", default="none")


class RunningTests(SynchronousTestCase):
    """How a coroutine goes, and who is told of its end."""

    def setUp(self) -> None:
        self.ended: list[Any] = []

    def run_(self, coroutine: Any) -> Running[Any]:
        return Running(coroutine, self.ended.append, self.ended.append)

    def test_at_once(self) -> None:
        """One that does not wait has ended when the call returns."""

        async def go() -> int:
            return await succeed(1) + 1

        self.run_(go())
        self.assertEqual(self.ended, [2])

    def test_waits(self) -> None:
        """It goes on with each result, one after another."""
        first: Deferred[int] = Deferred()
        second: Deferred[int] = Deferred()

        async def go() -> int:
            return await first + await second

        self.run_(go())
        first.callback(1)
        self.assertEqual(self.ended, [])
        second.callback(2)
        self.assertEqual(self.ended, [3])

    def test_failure_is_thrown_in(self) -> None:
        """What it waits for may fail: it is raised there, and may be caught."""
        waited: Deferred[None] = Deferred()

        async def go() -> str:
            try:
                await waited
            except ZeroDivisionError:
                return "caught"
            return "no failure"

        self.run_(go())
        waited.errback(Failure(ZeroDivisionError()))
        self.assertEqual(self.ended, ["caught"])

    def test_raises(self) -> None:
        """What it raises goes to its owner, and is logged nowhere."""
        waited: Deferred[None] = Deferred()

        async def go() -> None:
            await waited
            raise ZeroDivisionError

        self.run_(go())
        waited.callback(None)
        self.assertEqual([failure.type for failure in self.ended], [ZeroDivisionError])

    def test_cancel(self) -> None:
        """Cancelling cancels what it waits for, wherever that is."""
        waited: Deferred[None] = Deferred()

        async def inner() -> None:
            await waited

        async def go() -> None:
            await inner()

        running = self.run_(go())
        running.cancel()
        self.assertEqual([failure.type for failure in self.ended], [CancelledError])
        running.cancel()
        self.assertEqual(len(self.ended), 1)

    def test_cancel_survived(self) -> None:
        """It may catch that, and go on."""
        waited: Deferred[None] = Deferred()
        more: Deferred[str] = Deferred()

        async def go() -> str:
            try:
                await waited
            except CancelledError:
                pass
            return await more

        self.run_(go()).cancel()
        self.assertEqual(self.ended, [])
        more.callback("done")
        self.assertEqual(self.ended, ["done"])

    def test_cancels_itself(self) -> None:
        """Who is running waits for nothing: a cancel from within changes nothing."""
        waited: Deferred[None] = Deferred()
        box: list[Running[Any]] = []

        async def go() -> str:
            await waited
            box[0].cancel()
            return "done"

        box.append(self.run_(go()))
        waited.callback(None)
        self.assertEqual(self.ended, ["done"])

    def test_context(self) -> None:
        """What one sets in a context variable no other one sees, and it sees it after a wait."""
        waited: Deferred[None] = Deferred()

        async def go(name: str) -> str:
            NAME.set(name)
            await waited
            return NAME.get()

        self.run_(go("one"))
        self.run_(go("two"))
        self.assertEqual(NAME.get(), "none")
        waited.callback(None)
        self.assertEqual(self.ended, ["one", "two"])
