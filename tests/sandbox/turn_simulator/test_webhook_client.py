"""The simulated Turn's own requests."""

from __future__ import annotations

from typing import Any, Callable

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.turn_simulator.webhook_client import WEBHOOK_TIMEOUT, NoAnswer, WebhookClient


class WebhookClientTests(SynchronousTestCase):
    """The simulated Turn's own requests."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.webhook_client = WebhookClient(self.reactor)

    def post(self) -> Deferred[Any]:
        return Deferred.fromCoroutine(self.webhook_client.post("http://127.0.0.1:8011/messages", {}, b"{}"))

    def fails(self, end: Callable[[], Any], words: str) -> None:
        asked = self.post()
        self.assertNoResult(asked)
        end()
        self.assertIn(words, str(self.failureResultOf(asked, NoAnswer).value))

    def test_in_vain(self) -> None:
        """A channel that does not answer in time, or does not listen, has given no answer; that is said."""
        self.fails(lambda: self.reactor.advance(WEBHOOK_TIMEOUT), "no answer")

    def test_stop(self) -> None:
        """What is under way ends when it stops."""
        self.fails(self.webhook_client.close, "stopping")
        self.assertEqual([call for call in self.reactor.getDelayedCalls() if call.active()], [])
