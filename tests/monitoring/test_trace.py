"""The trace of what became of messages."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.monitoring.trace import FIRST_STEPS, LATEST_STEPS, TraceStore

ADDRESS = "+26612345678"


class TraceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.store = TraceStore(self.clock.seconds, b"a key", per_channel=3, per_process=5)
        self.trace = self.store.channel("c")

    def say(self, message_id: str, connector: str = "c", address: str = ADDRESS) -> None:
        self.store.channel(connector).begin(message_id, "inbound", "message", address, "received")

    def test_steps(self) -> None:
        """A message's steps are told in order, each with its time and what else there is to say."""
        self.say("m1")
        self.clock.advance(2)
        self.trace.add("m1", "tried", {"answer": "status 503", "ms": 12})
        (entry,) = self.store.find("m1")
        self.assertEqual((entry["id"], entry["connector"], entry["direction"]), ("m1", "c", "inbound"))
        self.assertEqual(
            entry["steps"],
            [{"at": 0, "step": "received"}, {"at": 2, "step": "tried", "answer": "status 503", "ms": 12}],
        )
        self.assertEqual(json.loads(json.dumps(entry)), entry)

    def test_unknown(self) -> None:
        """A message that is not known has no trace, and noting something of it makes none."""
        self.trace.add("m1", "tried")
        self.assertEqual(self.store.find("m1"), [])

    def test_no_address(self) -> None:
        """The address is not in the trace; it finds it, with or without the plus sign."""
        self.say("m1")
        self.say("m2", address="+26600000000")
        self.assertNotIn("2661234", json.dumps(self.store.find("m1")))
        for address in (ADDRESS, ADDRESS[1:], self.store.person_hash.of(ADDRESS)):
            with case(address=address):
                self.assertEqual([entry["id"] for entry in self.store.of_person(address)], ["m1"])

    def test_key(self) -> None:
        """With another key the same address has another hash."""
        other = TraceStore(self.clock.seconds, b"another key")
        self.assertNotEqual(other.person_hash.of(ADDRESS), self.store.person_hash.of(ADDRESS))

    def test_again(self) -> None:
        """A message that is delivered again goes on in the same trace."""
        self.say("m1")
        self.say("m1")
        self.assertEqual([step["step"] for step in self.store.find("m1")[0]["steps"]], ["received", "received"])
        self.assertEqual(len(self.trace), 1)

    def test_bound_of_a_channel(self) -> None:
        """A channel keeps its latest messages."""
        for number in range(5):
            self.say(f"m{number}")
        self.assertEqual([entry["id"] for entry in self.store.latest("c")], ["m4", "m3", "m2"])
        self.assertEqual([entry["id"] for entry in self.store.latest("c", 1)], ["m4"])

    def test_bound_of_the_process(self) -> None:
        """When all is full the channel that has the most gives up its oldest."""
        for number in range(3):
            self.say(f"c{number}")
        for number in range(2):
            self.say(f"d{number}", "d")
        self.say("e0", "e")
        self.assertEqual([entry["id"] for entry in self.store.latest("c")], ["c2", "c1"])
        self.assertEqual([len(self.store.channel(name)) for name in "cde"], [2, 2, 1])

    def test_removed(self) -> None:
        """A channel that has gone leaves no trace, and its room to the others."""
        for number in range(3):
            self.say(f"c{number}")
        self.store.remove("c")
        self.assertEqual(self.store.find("c0"), [])
        for number in range(3):
            self.say(f"d{number}", "d")
            self.say(f"e{number}", "e")
        self.assertEqual([len(self.store.channel(name)) for name in "de"], [2, 3])

    def test_many_steps(self) -> None:
        """Of a message that is tried for long the first steps and the latest are kept."""
        self.say("m1")
        total = FIRST_STEPS + LATEST_STEPS + 7
        for number in range(1, total):
            self.trace.add("m1", "tried", {"number": number})
        entry = self.store.find("m1")[0]
        self.assertEqual((len(entry["steps"]), entry["left_out"]), (FIRST_STEPS + LATEST_STEPS, 7))
        self.assertEqual((entry["steps"][1]["number"], entry["steps"][-1]["number"]), (1, total - 1))
