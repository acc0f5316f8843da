"""One journey through the real worker: by USSD, by legacy vumi's USSD, by two workers, by SMS."""

from __future__ import annotations

import os
from typing import Any, Optional

from twisted.trial.unittest import SkipTest

from tests.integration.bridge_case import SECRET, BridgeCase
from tests.integration.http_peer import HttpPeer
from tests.integration.journey import Journey, go_by_sms, go_by_ussd
from tests.integration.legacy_case import SERVICE
from tests.integration.legacy_ussd import LegacyUssdCase, Session
from tests.integration.redis_server import RedisServer
from tests.integration.vumi_words import event, inbound, new_id, new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker
from tests.pages import block_with

try:
    import txredisapi
except ImportError:
    txredisapi = None

#: Set it to see the journeys as they go by.
SHOW = "VUMI_TURN_SHOW_JOURNEYS"

#: The window is longer than a busy machine takes for two POSTs that are to be one screen.
OPTIONS: dict[str, Any] = {"page_back_key": "0", "screen_size": 160, "join_window": 2}

#: What happens, as the documentation shows it.
USSD = f"{block_with('the person dials')}\n"
SMS = f"{block_with('the person types hi')}\n"


class AmqpPhone:
    """
    A phone whose transport is the test.

    :param case: its queues are spoken to.
    :param session: whether it is USSD; else SMS.
    """

    def __init__(self, case: BridgeCase, session: bool) -> None:
        self.address = new_person()
        self._case = case
        self._session = session
        self._session_id = new_id()
        self._last: Optional[dict[str, Any]] = None

    def sends(self, text: str) -> None:
        """See :class:`~tests.integration.journey.Phone`."""
        event_of = ("new" if self._last is None else "resume") if self._session else None
        self._last = self._case.say(
            inbound(
                from_addr=self.address,
                content=text,
                session_event=event_of,
                transport_type="ussd" if self._session else "sms",
                transport_metadata={"session_id": self._session_id} if self._session else {},
            )
        )

    def shows(self) -> tuple[str, bool]:
        """See :class:`~tests.integration.journey.Phone`."""
        sent = self._case.sent()
        assert self._last is not None
        assert sent["in_reply_to"] == self._last["message_id"], sent
        self._case.report(event("ack", sent["message_id"]))
        return sent["content"], sent["session_event"] == "resume" or not self._session


class JourneyTests(BridgeCase):
    """One worker."""

    connector = "journey"
    config = OPTIONS

    def go(self, session: bool) -> Journey:
        """The journey on a phone."""
        journey = Journey(self.turn, [self.http], AmqpPhone(self, session))
        if session:
            go_by_ussd(journey, SERVICE)
        else:
            go_by_sms(journey)
        show(journey)
        return journey

    def test_ussd(self) -> None:
        """Each screen is at most 160 characters long, and each of Turn's ids has its status."""
        journey = self.go(session=True)
        self.assertEqual(journey.text, USSD)
        self.all_sent(journey)
        self.nothing_sent()
        # Parts are acknowledged after the message that shows them is confirmed.
        wait_for(lambda: self.rig.held("turn_joining") == 0, "the parts to be acknowledged")

    def test_sms(self) -> None:
        """On SMS nothing is joined or cut, and choices are made as on USSD."""
        journey = self.go(session=False)
        self.assertEqual(journey.text, SMS)
        self.all_sent(journey)
        self.nothing_sent()

    def all_sent(self, journey: Journey) -> None:
        """Turn has one status for each of its messages, and no other."""
        wait_for(lambda: len(journey.statuses()) >= len(journey.ids), "the statuses")
        self.assertEqual(journey.statuses(), {message_id: ["sent"] for message_id in journey.ids})


class LegacyJourneyTests(LegacyUssdCase):
    """Legacy vumi's own USSD transport and dispatcher between the phone and the worker."""

    connector = "legacy_journey"
    transport = "legacy_journey_http"
    consumed = (f"{transport}.inbound", f"{transport}.event", f"{transport}.outbound", f"{connector}.outbound")
    config = OPTIONS

    def test_ussd(self) -> None:
        """The phone's network gets the same screens."""
        journey = Journey(self.turn, [self.http], Session(self))
        go_by_ussd(journey, SERVICE)
        show(journey)
        self.assertEqual(journey.text, USSD)


class TwoWorkers:
    """Two workers that share a Redis, and each POST of Turn's to another of them."""

    @staticmethod
    def started(case: Any) -> list[HttpPeer]:
        """Start them in place of the case's own; whom Turn POSTs to."""
        if txredisapi is None:
            raise SkipTest("needs txredisapi: pip install '.[redis]'")
        if case.rig.worker.running:
            case.rig.worker.stop()
        redis = RedisServer()
        case.addCleanup(redis.stop)
        redis.start()
        config: dict[str, Any] = {
            **case.rig.worker.config,
            "message_cache_class": "RedisMessageCache",
            "message_cache_config": {"url": redis.url},
        }
        config.pop("http_bind")
        workers = [Worker(config, case.node.port) for _ in range(2)]
        for worker in workers:
            case.addCleanup(worker.close)
            worker.start()
        return [HttpPeer(worker.port, SECRET) for worker in workers]


class TwoWorkersJourneyTests(JourneyTests):
    """The same with two workers."""

    connector = "journey_of_two"

    def go(self, session: bool) -> Journey:
        """The journey on a phone."""
        journey = Journey(self.turn, TwoWorkers.started(self), AmqpPhone(self, session))
        if session:
            go_by_ussd(journey, SERVICE)
        else:
            go_by_sms(journey)
        show(journey)
        return journey


class LegacyTwoWorkersJourneyTests(LegacyUssdCase):
    """Two workers, and legacy vumi's transport."""

    connector = "legacy_journey_of_two"
    transport = "legacy_journey_of_two_http"
    consumed = (f"{transport}.inbound", f"{transport}.event", f"{transport}.outbound", f"{connector}.outbound")
    config = OPTIONS

    def test_ussd(self) -> None:
        """The phone's network gets the same screens."""
        journey = Journey(self.turn, TwoWorkers.started(self), Session(self))
        go_by_ussd(journey, SERVICE)
        show(journey)
        self.assertEqual(journey.text, USSD)


def show(journey: Journey) -> None:
    """Print a journey where the environment asks for it."""
    if os.environ.get(SHOW):
        print(f"\n{journey.text}")
