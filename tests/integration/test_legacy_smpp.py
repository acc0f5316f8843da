"""
Legacy vumi's own SMPP transport, with a message centre behind it: the events
of a real network, whose ids are not ours.
"""

from __future__ import annotations

from typing import Any, Mapping

from tests.integration.legacy_case import LegacyCase
from tests.integration.redis_server import RedisServer
from tests.integration.smsc import INVALID_DESTINATION, OK, Smsc, Submitted
from tests.integration.vumi_words import new_person
from tests.integration.waiting import wait_for


class SmppTests(LegacyCase):
    connector = "legacy_smpp"
    consumed = (f"{connector}.outbound",)
    smsc: Smsc

    def legacy_workers(self) -> Mapping[str, Mapping[str, Any]]:
        redis, smsc = RedisServer(), Smsc()
        redis.start()
        self.keep(redis.stop)
        self.keep(smsc.close)
        type(self).smsc = smsc
        config = {
            "transport_name": self.connector,
            "twisted_endpoint": f"tcp:host=127.0.0.1:port={smsc.port}",
            "system_id": "user",
            "password": "password",
            "redis_manager": {"host": "127.0.0.1", "port": redis.port, "key_prefix": "smpp"},
        }
        return {"vumi.transports.smpp.SmppTransceiverTransport": config}

    def setUp(self) -> None:
        super().setUp()
        self.wait_for_legacy(lambda: self.smsc.bound, "to bind")
        self.smsc.decide = lambda destination: OK
        self.person = new_person()

    def network_gets(self, count: int = 1) -> list[Submitted]:
        """What the message centre was handed for the person."""

        def look() -> Any:
            found = [one for one in self.smsc.submitted if one.destination == self.person]
            return found if len(found) >= count else None

        found: list[Submitted] = wait_for(look, "the network to get a message")
        return found

    def statuses(self, message_id: str, count: int) -> list[str]:
        """The statuses that Turn gets of a message, in their order, once there are so many."""
        self.status_of(message_id, count - 1)
        statuses = [status for status in self.turn.statuses() if status["id"] == message_id]
        self.assertEqual({status["recipient_id"] for status in statuses}, {self.person})
        return [status["status"] for status in statuses]

    def test_conversation(self) -> None:
        """An SMS gets to Turn, and Turn's answer to the phone, from the number that was written to."""
        self.smsc.says(self.person, "8864", "Lumela café")
        self.assertEqual(self.turn_hears(self.person), "Lumela café")
        self.turn_says(self.person, "Kea leboha, é 😀", more=False)
        [submitted] = self.network_gets()
        self.assertEqual((submitted.source, submitted.text.decode("utf-8")), ("8864", "Kea leboha, é 😀"))

    def test_delivered(self) -> None:
        """An ack and reports under the network's own id become the statuses of our message, in their order."""
        message_id = self.turn_says(self.person, "Hello")
        [submitted] = self.network_gets()
        self.assertEqual(self.statuses(message_id, 1), ["sent"])
        self.assertNotEqual(submitted.name, message_id)
        self.smsc.reports(submitted, "ENROUTE")
        self.assertEqual(self.statuses(message_id, 2), ["sent", "sent"])
        self.smsc.reports(submitted, "DELIVRD")
        self.assertEqual(self.statuses(message_id, 3), ["sent", "sent", "delivered"])

    def test_not_delivered(self) -> None:
        """A report of a failure becomes the status failed."""
        message_id = self.turn_says(self.person, "Hello")
        [submitted] = self.network_gets()
        self.statuses(message_id, 1)
        self.smsc.reports(submitted, "REJECTD")
        self.assertEqual(self.statuses(message_id, 2), ["sent", "failed"])

    def test_refused(self) -> None:
        """A message that the network refuses becomes the status failed."""
        self.smsc.decide = lambda destination: INVALID_DESTINATION
        message_id = self.turn_says(self.person, "Hello")
        self.assertEqual(self.statuses(message_id, 1), ["failed"])

    def test_several(self) -> None:
        """Reports in another order than the messages go to the right ones."""
        ids = [self.turn_says(self.person, f"part {number}") for number in range(3)]
        submitted = self.network_gets(3)
        texts = [one.text.decode() for one in submitted]
        by_id = dict(zip(ids, (submitted[texts.index(f"part {n}")] for n in range(3)), strict=True))
        for message_id in ids:
            self.statuses(message_id, 1)
        for message_id, state in zip(reversed(ids), ("DELIVRD", "REJECTD", "DELIVRD"), strict=True):
            self.smsc.reports(by_id[message_id], state)
        got = [self.statuses(message_id, 2)[-1] for message_id in ids]
        self.assertEqual(got, ["delivered", "failed", "delivered"])
