"""One operation's result for many waiters."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.timing.shared_result import SharedResult


class SharedResultTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pending: Deferred[int] = Deferred()

    async def operation(self) -> int:
        return await self.pending

    def test_result(self) -> None:
        """Waiters before and after the end get the result."""
        shared = SharedResult(self.operation())
        early = Deferred.fromCoroutine(shared.get())
        self.assertNoResult(early)
        self.pending.callback(7)
        late = Deferred.fromCoroutine(shared.get())
        self.assertEqual((self.successResultOf(early), self.successResultOf(late)), (7, 7))
        self.assertIsNone(shared.unseen_failure)

    def test_cancelled_waiter(self) -> None:
        """A waiter that is cancelled leaves the operation and the others alone."""
        shared = SharedResult(self.operation())
        first, second = (Deferred.fromCoroutine(shared.get()) for _ in range(2))
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertNoResult(second)
        self.pending.callback(7)
        self.assertEqual(self.successResultOf(second), 7)

    def test_failure(self) -> None:
        """Each waiter gets the failure; it is unseen until one of them has."""
        shared = SharedResult(self.operation())
        self.pending.errback(ZeroDivisionError("marker"))
        unseen = shared.unseen_failure
        assert unseen is not None and unseen.check(ZeroDivisionError)
        for _ in range(2):
            self.failureResultOf(Deferred.fromCoroutine(shared.get()), ZeroDivisionError)
        self.assertIsNone(shared.unseen_failure)
