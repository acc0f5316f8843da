"""``vumi_turn_failures``: what it shows, replays and drops, on a broker in memory."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker import memory_scope
from vumi_turn.broker.interface import BrokerError, BrokerUnavailable, Delivery, Outcome, QueueCounts
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.commands.channels import connectors_in
from vumi_turn.commands.failures import Command, main, run
from vumi_turn.commands.failures_options import FailuresOptions
from vumi_turn.configuration.files import SettingsError
from vumi_turn.failures import reader as reader_module
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.headers import headers_of, is_replay
from vumi_turn.failures.parked import Parked, Selection, read_parked
from vumi_turn.failures.reader import DeliveriesLost, FailuresQueueReader, QueueInUse
from vumi_turn.turn.verdicts import Verdict
from vumi_turn.vumi.messages import FailureMessage

NOW = 1_700_000_000.0


def failure(original: Any, queue: Optional[str] = "inbound", when: float = NOW - 60) -> bytes:
    """A parked message."""
    message = FailureMessage(
        message=original,
        failure_code="temporary",
        reason="Turn answered 500.",
        timestamp=datetime.fromtimestamp(when, timezone.utc),
        helper_metadata={"turn": {"queue": queue}},
    )
    return message.to_json()


class CommandCase(SynchronousTestCase):
    """A queue of parked messages."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.broker = MemoryBroker(self.clock)
        self.patch(self.broker, "counts", self.counts)
        self.broker.start()
        self.out = io.StringIO()
        self.err = io.StringIO()
        self.notices: list[str] = []
        self.elsewhere = 0  # messages that the broker counts, and does not give
        self.questions: list[str] = []
        self.answer = True
        for body in (failure({"message_id": "m1"}), failure({"event_id": "e2"}, "event"), failure("junk")):
            self.broker.push("c.turn_failures", body)

    async def ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer

    def run_command(self, name: str, *args: Any) -> Deferred[int]:
        done = Deferred.fromCoroutine(getattr(self.command(), name)(*args))
        self.clock.pump([0.1] * 30)
        return done

    def command(self, *connectors: str, as_json: bool = False) -> Command:
        """The command for these connectors."""
        readers = [
            FailuresQueueReader(self.broker, name, self.clock, self.notices.append) for name in connectors or ("c",)
        ]
        return Command(readers, self.clock, self.out, self.err, self.ask, as_json)

    async def counts(self, queue: str) -> Optional[QueueCounts]:
        """What the broker says of a queue, with those that it counts wrongly."""
        found = await MemoryBroker.counts(self.broker, queue)
        if found is None or not queue.endswith(".turn_failures"):
            return found
        return QueueCounts(found.messages - self.elsewhere, found.consumers)

    def status(self, name: str, *args: Any) -> int:
        status = self.successResultOf(self.run_command(name, *args))
        self.successResultOf(self.broker.stop())  # whatever is unsettled is back in its queue
        return status

    def queue(self, name: str) -> list[bytes]:
        return self.broker.queue_contents(f"c.{name}")


class ListTests(CommandCase):
    def test_lines(self) -> None:
        """Each parked message is a line with id, queue, kind, time and reason, oldest first."""
        self.assertEqual(self.status("list", Selection(), False, 0), 0)
        lines = self.out.getvalue().splitlines()
        self.assertEqual(lines[0], "m1  inbound  temporary  2023-11-14 22:12:20.000000  Turn answered 500.")
        self.assertTrue(lines[1].startswith("e2  event  "), lines[1])
        self.assertTrue(lines[2].startswith("digest-"), lines[2])
        self.assertEqual(lines[3], "3 parked")

    def test_everything_stays(self) -> None:
        """Listing takes nothing out of the queue and changes no order."""
        before = self.queue("turn_failures")
        self.status("list", Selection(), False, 0)
        self.assertEqual(self.queue("turn_failures"), before)

    def test_content_only_with_its_flag(self) -> None:
        """What the messages say is shown only where that is asked for."""
        self.broker.push("c.turn_failures", failure({"message_id": "m3", "content": "my words"}))
        self.status("list", Selection(), False, 0)
        self.assertNotIn("my words", self.out.getvalue())
        self.broker.start()
        self.status("list", Selection(ids=("m3",)), True, 0)
        self.assertIn("my words", self.out.getvalue())

    def test_usage(self) -> None:
        """The help of the command and of each subcommand begins with how it is typed."""
        options = FailuresOptions()
        whole = "Usage: vumi_turn_failures [options] --connector NAME|--config FILE"
        self.assertEqual(options.getSynopsis(), f"{whole} list|replay|drop [ids]")
        options.parseOptions(["--connector", "demo", "list"])
        self.assertEqual(options.subOptions.getSynopsis(), f"{whole} list [options] [ids]")

    def test_limit(self) -> None:
        """With a limit no more than so many are read."""
        self.status("list", Selection(), False, 2)
        self.assertIn("2 parked", self.out.getvalue())

    def test_named(self) -> None:
        """Only the named ones are listed; one that is not parked is said."""
        self.assertEqual(self.status("list", Selection(ids=("e2", "nothing")), False, 0), 1)
        self.assertEqual(self.out.getvalue().splitlines()[1:], ["1 parked", "not parked: nothing"])

    def test_empty(self) -> None:
        """An empty queue is said."""
        self.broker.delete_queue("c.turn_failures")
        self.assertEqual(self.status("list", Selection(), False, 0), 0)
        self.assertEqual(self.out.getvalue(), "0 parked\n")

    def test_somebody_else_has_them(self) -> None:
        """What does not come is not waited for for ever; how many are missing is said, and the exit status too."""
        self.elsewhere = -2
        done = Deferred.fromCoroutine(self.command().list(Selection(), False, 0))
        self.clock.pump([0.1] * 45)
        self.assertNoResult(done)
        self.clock.pump([0.1] * 150)
        self.assertEqual(self.successResultOf(done), 1)
        self.assertIn("3 parked", self.out.getvalue())
        self.assertIn("2 of 5 messages in c.turn_failures could not be read", self.err.getvalue())

    def test_junk(self) -> None:
        """What is no failure message is shown as such."""
        self.broker.push("c.turn_failures", b"\xff not JSON")
        self.assertEqual(self.status("list", Selection(), False, 0), 0)
        self.assertIn("unreadable", self.out.getvalue())


class ReplayTests(CommandCase):
    def test_chosen(self) -> None:
        """A chosen one goes back to the queue it came from, the others stay."""
        self.assertEqual(self.status("replay", Selection(ids=("e2",))), 0)
        self.assertEqual([json.loads(body) for body in self.queue("event")], [{"event_id": "e2"}])
        self.assertEqual(self.queue("inbound"), [])
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_all(self) -> None:
        """All go back in their order, what was no JSON as it was."""
        self.assertEqual(self.status("replay", Selection()), 0)
        self.assertEqual(self.queue("inbound"), [b'{"message_id":"m1"}', b"junk"])
        self.assertEqual(self.queue("turn_failures"), [])
        self.assertIn("3 replayed", self.out.getvalue())

    def test_marked(self) -> None:
        """A replayed message carries a header of ours that says so."""
        self.assertEqual(self.status("replay", Selection(ids=("e2",))), 0)
        self.broker.start()
        seen: list[Delivery] = []

        async def take(delivery: Delivery) -> Outcome:
            seen.append(delivery)
            return Outcome.ACK

        self.broker.consume("c.event", take, 1).unpause()
        self.clock.pump([0.1] * 3)
        self.assertEqual([(dict(one.headers), is_replay(one)) for one in seen], [({"x-vumi-turn-replay": True}, True)])

    def test_parked_as_it_came(self) -> None:
        """A message that was too large for a failure message is listed, replayed and dropped as others."""
        body = '{ "message_id": 7, "from_addr": "+1",  "content": "é"}'.encode()
        headers = headers_of(
            "inbound", DeadLetter(Verdict.REFUSED, "permanent", "Too long.", 2, 413), "2024-01-01 00:00:00.0"
        )
        for name in ("7", "8"):
            self.broker.push("c.turn_failures", body.replace(b"7", name.encode()), headers)
        self.assertEqual(self.status("list", Selection(status=413), False, 0), 0)
        self.assertEqual(
            self.out.getvalue().splitlines()[0], "7  inbound  permanent  2024-01-01 00:00:00.000000  Too long."
        )
        self.broker.start()
        self.assertEqual(self.status("replay", Selection(ids=("7",))), 0)
        self.assertEqual(self.queue("inbound"), [body])
        self.broker.start()
        self.assertEqual(self.status("drop", Selection(ids=("8",)), True), 0)
        self.assertEqual(len(self.queue("turn_failures")), 3)

    def test_unknown(self) -> None:
        """An id that is not parked is an error that names it; the others are replayed."""
        self.assertEqual(self.status("replay", Selection(ids=("nothing", "e2"))), 1)
        self.assertEqual(self.out.getvalue(), "1 replayed\nnot parked: nothing\n")
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_confirmed_before_acknowledged(self) -> None:
        """What the broker does not take stays parked."""
        self.broker.nack_next(1)
        done = self.run_command("replay", Selection())
        self.failureResultOf(done, BrokerError)
        self.successResultOf(self.broker.stop())
        self.assertEqual(len(self.queue("turn_failures")), 3)
        self.assertEqual(self.queue("inbound"), [])

    def test_broker_fails_in_the_middle(self) -> None:
        """A broker that stops taking them in the middle: what it took is gone from here, the rest is parked."""
        published: list[bytes] = []
        publisher = self.broker.publisher

        def only_one(key: str) -> Any:
            chosen = publisher(key)
            if published:
                self.broker.nack_next(1)
            published.append(key.encode())
            return chosen

        self.patch(self.broker, "publisher", only_one)
        self.failureResultOf(self.run_command("replay", Selection()), BrokerError)
        self.successResultOf(self.broker.stop())
        self.assertEqual(self.queue("inbound"), [b'{"message_id":"m1"}'])
        self.assertEqual(len(self.queue("turn_failures")), 2)
        self.assertEqual(self.out.getvalue(), "1 replayed\n")

    def test_connection_lost_while_reading(self) -> None:
        """What is read on a connection that is lost comes again: nothing is replayed twice."""
        for number in range(3):
            self.broker.push("c.turn_failures", failure({"message_id": f"x{number}"}))
        self.elsewhere = -1
        done = Deferred.fromCoroutine(self.command().replay(Selection()))
        self.clock.pump([0.1] * 6)
        self.broker.go_away()
        self.broker.come_back()
        self.clock.pump([0.1] * 200)
        self.assertEqual(self.successResultOf(done), 1)
        self.assertEqual((len(self.queue("inbound")), len(self.queue("event"))), (5, 1))
        self.assertEqual(self.queue("turn_failures"), [])

    def test_connection_lost_while_replaying(self) -> None:
        """One whose connection is lost after its replay may be parked still, which is said."""
        replay = FailuresQueueReader.replay

        async def and_lose(reader: FailuresQueueReader, parked: Any) -> None:
            await replay(reader, parked)
            self.broker.go_away()

        self.patch(FailuresQueueReader, "replay", and_lose)
        error = self.failureResultOf(self.run_command("replay", Selection()), DeliveriesLost)
        self.assertIn("m1", error.getErrorMessage())
        self.assertEqual(len(self.queue("turn_failures")), 3)

    def test_parked_again(self) -> None:
        """What is parked while the command runs, a replay that failed again, is not replayed in circles."""
        replay = FailuresQueueReader.replay

        async def and_fail_again(reader: FailuresQueueReader, parked: Any) -> None:
            await replay(reader, parked)
            self.broker.push("c.turn_failures", failure(parked.original))

        self.patch(FailuresQueueReader, "replay", and_fail_again)
        self.assertEqual(self.status("replay", Selection()), 0)
        self.assertEqual(len(self.queue("turn_failures")), 3)
        self.assertIn("3 replayed", self.out.getvalue())

    def test_clocks_differ(self) -> None:
        """One that a worker whose clock is ahead has parked is replayed as any other."""
        self.broker.push("c.turn_failures", failure({"message_id": "m9"}, when=NOW + 3600))
        self.assertEqual(self.status("replay", Selection(ids=("m9",))), 0)
        self.assertEqual(len(self.queue("turn_failures")), 3)

    def test_no_queue(self) -> None:
        """A failure message that does not say where it came from stays, and the exit status says so."""
        self.broker.push("c.turn_failures", failure({"message_id": "m4"}, queue=None))
        self.assertEqual(self.status("replay", Selection()), 1)
        self.assertEqual(len(self.queue("turn_failures")), 1)


class DropTests(CommandCase):
    def test_asked(self) -> None:
        """A chosen one is dropped after asking."""
        self.assertEqual(self.status("drop", Selection(ids=("m1",)), False), 0)
        self.assertEqual(len(self.questions), 1)
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_no(self) -> None:
        """A no leaves it where it is."""
        self.answer = False
        self.status("drop", Selection(ids=("m1",)), False)
        self.assertEqual(len(self.queue("turn_failures")), 3)
        self.assertIn("0 dropped", self.out.getvalue())

    def test_yes_flag(self) -> None:
        """With --yes nobody is asked."""
        self.status("drop", Selection(ids=("m1",)), True)
        self.assertEqual(self.questions, [])
        self.assertEqual(len(self.queue("turn_failures")), 2)


class TurnsTests(CommandCase):
    """Several commands on one queue, and a broker that is still putting messages back."""

    def test_still_requeueing(self) -> None:
        """While the number of messages rises, a reader before was killed: it is waited for, and all are seen."""
        self.elsewhere = 2
        done = Deferred.fromCoroutine(self.command().replay(Selection()))
        self.clock.pump([0.1] * 2)
        self.elsewhere = 1
        self.clock.pump([0.1] * 2)
        self.elsewhere = 0
        self.assertEqual(self.out.getvalue(), "")
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual(self.out.getvalue(), "3 replayed\n")

    def test_two_at_once(self) -> None:
        """A second command waits for the first, says so, and sees everything that the first one left."""
        first = Deferred.fromCoroutine(self.command().replay(Selection(ids=("m1",))))
        self.clock.pump([0.1] * 3)
        second = Deferred.fromCoroutine(self.command().list(Selection(), False, 0))
        self.clock.pump([0.1] * 40)
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (0, 0))
        self.assertEqual(self.notices, ["somebody else reads c.turn_failures; waiting"])
        self.assertEqual(self.out.getvalue().splitlines()[0], "1 replayed")
        self.assertEqual(self.out.getvalue().splitlines()[-1], "2 parked")

    def test_no_right_to_lock(self) -> None:
        """Who may not make the lock's queue takes turns by the number of readers alone."""

        class NoLock(memory_scope.MemoryLock):
            async def acquire(self) -> bool:
                raise BrokerUnavailable("403 ACCESS_REFUSED")

        self.patch(memory_scope, "MemoryLock", NoLock)
        self.assertEqual(self.status("replay", Selection()), 0)
        self.assertEqual(self.out.getvalue(), "3 replayed\n")

    def test_in_use(self) -> None:
        """A reader that does not finish is not waited for for ever."""

        async def hold(delivery: Delivery) -> Outcome:
            await Deferred()
            return Outcome.REQUEUE

        self.broker.consume("c.turn_failures", hold, prefetch=10).unpause()
        done = Deferred.fromCoroutine(self.command().list(Selection(), False, 0))
        self.clock.pump([1] * 125)
        self.assertIn("try again later", self.failureResultOf(done, QueueInUse).getErrorMessage())

    def test_everything_is_back(self) -> None:
        """The command ends only when the queue holds again what it does not take out, so that the next one sees it."""
        done = Deferred.fromCoroutine(self.command().list(Selection(), False, 0))
        self.clock.pump([0.1] * 3)
        self.elsewhere = 1
        self.clock.pump([0.1] * 20)
        self.assertNoResult(done)
        self.elsewhere = 0
        self.clock.pump([0.1] * 5)
        self.assertEqual(self.successResultOf(done), 0)

    def test_bodies_are_not_kept(self) -> None:
        """Of what is listed no body stays in memory."""
        delivery = Delivery("c.turn_failures", failure({"message_id": "m1"}))
        seen: list[Delivery] = []

        def read(one: Delivery) -> Parked:
            seen.append(one)
            return read_parked(one)

        self.patch(reader_module, "read_parked", read)
        self.broker.delete_queue("c.turn_failures")
        self.broker.push("c.turn_failures", delivery.body)
        reader = FailuresQueueReader(self.broker, "c", self.clock)

        async def look(kept: str) -> Outcome:
            self.assertEqual([one.body for one in seen], [b""])
            return Outcome.REQUEUE

        done = Deferred.fromCoroutine(reader.work(lambda parked: parked.id, look))
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.successResultOf(done), (1, 1))
        self.assertEqual(len(seen), 1)
        self.assertEqual(self.queue("turn_failures"), [delivery.body])

    def test_often_looked_at(self) -> None:
        """What a quorum queue has delivered often is put into it anew: RabbitMQ 4 would drop it one day."""
        self.broker.delete_queue("c.turn_failures")
        for name, count in (("m1", 3), ("m2", 10), ("m3", 0)):
            self.broker.push(
                "c.turn_failures", failure({"message_id": name}), {"x-delivery-count": count}, redelivered=True
            )
        self.assertEqual(self.status("list", Selection(), False, 0), 0)
        self.assertEqual([FailureMessage.from_json(one).message for one in self.queue("turn_failures")],
                         [{"message_id": name} for name in ("m1", "m3", "m2")])  # fmt: skip


class ShownTests(CommandCase):
    def test_control_characters(self) -> None:
        """An id with line ends and terminal escapes is one harmless line."""
        self.broker.push("c.turn_failures", failure({"message_id": "m\n9\x1b[2J\x9b"}))
        self.status("list", Selection(), False, 0)
        self.assertIn("m\\n9\\x1b[2J\\x9b  inbound", self.out.getvalue().splitlines()[3])
        self.assertTrue(all(c.isprintable() or c == "\n" for c in self.out.getvalue()))

    def test_json(self) -> None:
        """With --json each line is an object; the last one has the numbers."""
        self.broker.push("c.turn_failures", failure({"message_id": "m\n9", "content": "my words"}))
        done = Deferred.fromCoroutine(self.command(as_json=True).list(Selection(ids=("m\n9", "no")), False, 0))
        self.clock.pump([0.1] * 20)
        self.assertEqual(self.successResultOf(done), 1)
        found, numbers = [json.loads(line) for line in self.out.getvalue().splitlines()]
        self.assertEqual(
            found,
            {
                "connector": "c",
                "id": "m\n9",
                "queue": "inbound",
                "code": "temporary",
                "reason": "Turn answered 500.",
                "parked_at": "2023-11-14 22:12:20.000000",
                "attempts": None,
                "last_status": None,
            },
        )
        self.assertEqual(numbers, {"parked": 1, "left": 0, "unread": 0})
        self.assertEqual(self.err.getvalue(), "not parked: no\n")

    def test_several_connectors(self) -> None:
        """Of several connectors each line says which, and the numbers are of all."""
        self.broker.push("d.turn_failures", failure({"message_id": "m7"}))
        done = Deferred.fromCoroutine(self.command("c", "d").list(Selection(ids=("m1", "m7")), False, 0))
        self.clock.pump([0.1] * 60)
        self.assertEqual(self.successResultOf(done), 0)
        lines = self.out.getvalue().splitlines()
        self.assertEqual([line.partition("  inbound")[0] for line in lines], ["c  m1", "d  m7", "2 parked"])


class SelectionTests(SynchronousTestCase):
    """Which parked messages are meant."""

    def matches(self, body: bytes, **filters: Any) -> bool:
        return Selection(**filters).matches(read_parked(Delivery("c.turn_failures", body)), NOW)

    def test_filters(self) -> None:
        """Reason, person, age and status each choose; all that are given have to hold."""
        message = FailureMessage(
            message={"message_id": "m1", "from_addr": 26612345678},
            failure_code="temporary",
            reason="Turn answered 500.",
            timestamp=datetime.fromtimestamp(NOW - 60, timezone.utc),
            helper_metadata={"turn": {"queue": "inbound", "attempts": 4, "last_status": 500}},
        )
        for filters, expected in (
            ({}, True),
            ({"ids": ("m1",)}, True),
            ({"ids": ("m2",)}, False),
            ({"reason": "ANSWERED 500"}, True),
            ({"reason": "404"}, False),
            ({"person": "+26612345678"}, True),
            ({"person": "26612345678"}, True),
            ({"person": "26612345679"}, False),
            ({"older_than": 60.0}, True),
            ({"older_than": 61.0}, False),
            ({"newer_than": 60.0}, True),
            ({"newer_than": 59.0}, False),
            ({"status": 500}, True),
            ({"status": 404}, False),
            ({"status": 0}, False),
            ({"status": 500, "person": "1"}, False),
        ):
            with case(filters=filters, expected=expected):
                self.assertEqual(self.matches(message.to_json(), **filters), expected)

    def test_unknown(self) -> None:
        """What does not say what is asked for is not meant."""
        for filters in ({"person": "1"}, {"older_than": 0.0}, {"newer_than": 1e9}, {"status": 500}):
            with case(filters=filters):
                self.assertFalse(self.matches(b"junk", **filters))
        self.assertTrue(self.matches(b"junk", status=0))


class ChannelsTests(SynchronousTestCase):
    def connectors(self, text: str) -> list[str]:
        path = Path(self.mktemp())
        path.write_text(text)
        return connectors_in(str(path))

    def test_connectors(self) -> None:
        """The connector of a channel's file, and those of a fleet's, each once."""
        self.assertEqual(self.connectors("connector_name: a"), ["a"])
        self.assertEqual(self.connectors("transport_name: a"), ["a"])
        text = "connector_name: !env [NO_SUCH_VARIABLE, a]\nauth_token: !env NO_SUCH_VARIABLE\nb: !file /no/such\n"
        self.assertEqual(self.connectors(text), ["a"])
        self.assertEqual(
            self.connectors("channels: [{connector_name: a}, {transport_name: b}, {connector_name: a}]"), ["a", "b"]
        )

    def test_none(self) -> None:
        """A file without a connector's name is an error that says where it is missing."""
        for text, sentence in (
            ("a: 1", "there is no connector_name"),
            ("channels: [{connector_name: a}, {}]", "channels[1] has no connector_name"),
            ("channels: {}", "channels must be a list of mappings"),
            ("channels: [5]", "channels must be a list of mappings"),
        ):
            with case(text=text, sentence=sentence):
                self.assertIn(sentence, str(self.assertRaises(SettingsError, self.connectors, text)))


class OptionsTests(SynchronousTestCase):
    def refused(self, *argv: str) -> str:
        return str(self.assertRaises(UsageError, FailuresOptions().parseOptions, list(argv)))

    def test_what_to_do(self) -> None:
        """Connector and subcommand are required; replay wants ids or --all, drop wants ids."""
        self.assertIn("--connector", self.refused("list"))
        self.assertIn("list, replay or drop", self.refused("--connector", "c"))
        self.assertIn("--all", self.refused("--connector", "c", "replay"))
        self.assertIn("--all", self.refused("--connector", "c", "replay", "--all", "m1"))
        self.assertIn("name the ids", self.refused("--connector", "c", "drop"))
        self.assertIn("--config", self.refused("--connector", "c", "--config", "f", "list"))

    def test_queue(self) -> None:
        """The queue of an application is read where it is named; another one is refused."""
        options = FailuresOptions()
        options.parseOptions(["-c", "c", "list"])
        self.assertEqual(options["queue"], "turn_failures")
        options = FailuresOptions()
        options.parseOptions(["-c", "c", "--queue", "failures_of_application", "list"])
        self.assertEqual(options["queue"], "failures_of_application")
        self.assertIn("--queue must be", self.refused("-c", "c", "--queue", "failures", "list"))

    def test_reader_of_another_queue(self) -> None:
        """A reader works on the queue that it is given."""
        reader = FailuresQueueReader(MemoryBroker(Clock()), "c", Clock(), name="failures_of_application")
        self.assertEqual(reader.queue, "c.failures_of_application")

    def test_filters(self) -> None:
        """Filters are flags; each wrong value is refused by name."""
        options = FailuresOptions()
        flags = ["--older-than", "2h", "--newer-than", "3d", "--status", "none", "--person", "+1", "--reason", "x"]
        options.parseOptions(["-c", "c", "replay", *flags])
        self.assertEqual(options.subOptions.selection, Selection((), "x", "+1", 7200.0, 259200.0, 0))
        for flag, value in (("--older-than", "soon"), ("--newer-than", "-5"), ("--status", "9"), ("--status", "x")):
            with case(flag=flag, value=value):
                self.assertIn(f"{flag} must be", self.refused("-c", "c", "list", flag, value))

    def test_limit(self) -> None:
        """A limit that is no number is refused by name."""
        for text in ("ten", "-1", "1.5"):
            with case(text=text):
                sentence = self.refused("--connector", "c", "list", "--limit", text)
                self.assertIn(f"--limit must be a whole number, 0 or more, not {text!r}", sentence)

    def test_ca_file(self) -> None:
        """A file of authorities that cannot be used is a line and a status, before anything is asked."""
        options = FailuresOptions()
        options.parseOptions(["--amqp-url", "amqps://h/", "--amqp-ca-file", "/no/such.pem", "-c", "c", "list"])
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        done = Deferred.fromCoroutine(run(Clock(), options, io.StringIO()))
        self.assertEqual(self.successResultOf(done), 1)
        (line,) = err.getvalue().splitlines()
        self.assertIn("/no/such.pem", line)

    def test_command_line(self) -> None:
        """The installed command says what is wrong with its flags, and how it is used, and ends with status 2."""
        err = io.StringIO()
        self.patch(sys, "stderr", err)
        self.assertEqual(self.assertRaises(SystemExit, main, ["--connector", "c"]).code, 2)
        self.assertIn("Usage: vumi_turn_failures", err.getvalue())
        self.assertIn("vumi_turn_failures: say what to do: list, replay or drop", err.getvalue())
        self.patch(sys, "argv", ["vumi_turn_failures", "list"])
        self.assertEqual(self.assertRaises(SystemExit, main).code, 2)
        self.assertIn("say --connector", err.getvalue())

    def test_amqp_flags(self) -> None:
        """The broker is named as for the worker."""
        options = FailuresOptions()
        options.parseOptions(["--hostname", "rabbit", "--vhost", "/other", "-c", "c", "list", "--limit", "5", "m1"])
        self.assertEqual(options.vumi_options["hostname"], "rabbit")
        self.assertEqual(options.vumi_options["vhost"], "/other")
        self.assertEqual((options.subCommand, options.subOptions["ids"]), ("list", ("m1",)))
        self.assertEqual(options.subOptions["limit"], 5)
