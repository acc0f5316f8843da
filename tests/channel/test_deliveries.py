"""Parcels: what a consumed message or event brings along for the delivery policy."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.delivery.fakes import OK, START
from tests.fakes import FakeBroker
from vumi_turn.broker.interface import Delivery
from vumi_turn.channel.deliveries import QueueDelivery, digest_of
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.queue import FailureQueue
from vumi_turn.turn.verdicts import MESSAGE, STATUS, Verdict

PARKING = DeadLetter(Verdict.FAILED, "temporary", "Turn failed on it.", attempts=4, last_status=500)


class ParcelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(START)
        self.broker = FakeBroker()
        self.failures = FailureQueue(self.broker.publisher("c.turn_failures"), self.clock)

    def parcel(self, kind: str = MESSAGE, body: bytes = b'{"a": 1}', **more: Any) -> QueueDelivery:
        self.delivery = Delivery("c.inbound", body, redelivered=True, delivery_count=3, received=START - 5)
        return QueueDelivery(kind, self.delivery, self.failures, name="m1", key="266", identity=("m1", b"d"), **more)

    def run_now(self, coroutine: Any) -> Any:
        """The result of what need not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def test_what_the_delivery_says(self) -> None:
        """It knows of its delivery when that came, and how often it had come before."""
        parcel = self.parcel(expires=START + 60)
        self.assertEqual(
            (parcel.redelivered, parcel.delivery_count, parcel.received, parcel.expires),
            (True, 3, START - 5, START + 60),
        )
        self.assertIsNone(self.parcel().expires)

    def test_lost(self) -> None:
        """It is lost when its delivery is, and whoever wants to know is told once, also later."""
        parcel = self.parcel()
        told: list[str] = []
        parcel.on_lost(lambda: told.append("before"))
        self.assertEqual((parcel.lost, told), (False, []))
        self.delivery.lose()
        parcel.on_lost(lambda: told.append("after"))
        self.assertEqual((parcel.lost, told), (True, ["before", "after"]))

    def test_prepared_once(self) -> None:
        """What is tried before its turn is not prepared again when its turn comes; what failed is."""
        calls: list[str] = []

        async def prepare() -> None:
            calls.append("prepare")
            if len(calls) == 1:
                raise ZeroDivisionError("marker")

        parcel = self.parcel(prepare=prepare)
        self.failureResultOf(Deferred.fromCoroutine(parcel.prepare()), ZeroDivisionError)
        self.run_now(parcel.prepare())
        self.run_now(parcel.prepare())
        self.assertEqual(len(calls), 2)

    def test_prepare_and_post(self) -> None:
        """It prepares and posts with what it was given; there may be nothing to prepare."""
        calls: list[str] = []

        async def prepare() -> None:
            calls.append("prepare")

        async def post() -> Any:
            calls.append("post")
            return OK

        parcel = self.parcel(prepare=prepare, post=post)
        self.run_now(parcel.prepare())
        self.assertIs(self.run_now(parcel.post()), OK)
        self.assertEqual(calls, ["prepare", "post"])
        self.assertIsNone(self.run_now(self.parcel(post=post).prepare()))

    def test_park(self) -> None:
        """It is parked whole, with why, when, and the queue of its kind."""
        for kind, queue in ((MESSAGE, "inbound"), (STATUS, "event")):
            self.run_now(self.parcel(kind).park(PARKING))
            parked = json.loads(self.broker.publishers["c.turn_failures"].bodies[-1])
            self.assertEqual((parked["message"], parked["failure_code"]), ({"a": 1}, "temporary"))
            self.assertEqual(parked["reason"], "Turn failed on it.")
            self.assertEqual(
                parked["helper_metadata"]["turn"],
                {"queue": queue, "attempts": 4, "last_status": 500, "failed_at": "2021-08-07 14:14:38.000000"},
            )

    def test_parked_when_confirmed(self) -> None:
        """It is parked once the broker has confirmed it, and not before."""
        self.broker.confirms = False
        done = Deferred.fromCoroutine(self.parcel().park(PARKING))
        self.assertNoResult(done)
        self.broker.publishers["c.turn_failures"].pending[0].callback(None)
        self.assertIsNone(self.successResultOf(done))

    def test_not_confirmed(self) -> None:
        """What the broker has not taken is not parked."""
        self.broker.confirms = False
        done = Deferred.fromCoroutine(self.parcel().park(PARKING))
        self.broker.publishers["c.turn_failures"].pending[0].errback(ZeroDivisionError())
        self.failureResultOf(done, ZeroDivisionError)

    def test_digest(self) -> None:
        """Bodies are told apart by their digest, and equal ones are not."""
        self.assertEqual(digest_of(b"a"), digest_of(b"a"))
        self.assertEqual(len({digest_of(body) for body in (b"a", b"b", b"", b"a ")}), 4)
