"""``vumi_turn_failures``: what it shows, replays and drops, on a broker in memory."""

from __future__ import annotations

import io
import json
import sys
from datetime import datetime, timezone
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.broker.interface import BrokerError
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.commands.failures import Command, FailuresOptions, main, run
from vumi_turn.failures.reader import DeliveriesLost, FailuresQueueReader
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
        self.broker.start()
        self.out = io.StringIO()
        self.questions: list[str] = []
        self.answer = True
        for body in (failure({"message_id": "m1"}), failure({"event_id": "e2"}, "event"), failure("junk")):
            self.broker.push("c.turn_failures", body)

    async def ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.answer

    def run_command(self, name: str, *args: Any) -> Deferred[int]:
        waiting = len(self.queue("turn_failures"))
        command = Command(FailuresQueueReader(self.broker, "c", self.clock, waiting), self.out, self.ask)
        done = Deferred.fromCoroutine(getattr(command, name)(*args))
        self.clock.pump([0.1] * 10)
        return done

    def status(self, name: str, *args: Any) -> int:
        status = self.successResultOf(self.run_command(name, *args))
        self.successResultOf(self.broker.stop())  # whatever is unsettled is back in its queue
        return status

    def queue(self, name: str) -> list[bytes]:
        return self.broker.queue_contents(f"c.{name}")


class ListTests(CommandCase):
    def test_lines(self) -> None:
        """Each parked message is a line with id, queue, kind, time and reason, oldest first."""
        self.assertEqual(self.status("list", (), False, 0), 0)
        lines = self.out.getvalue().splitlines()
        self.assertEqual(lines[0], "m1  inbound  temporary  2023-11-14 22:12:20.000000  Turn answered 500.")
        self.assertTrue(lines[1].startswith("e2  event  "), lines[1])
        self.assertTrue(lines[2].startswith("digest-"), lines[2])
        self.assertEqual(lines[3], "3 parked")

    def test_everything_stays(self) -> None:
        """Listing takes nothing out of the queue and changes no order."""
        before = self.queue("turn_failures")
        self.status("list", (), False, 0)
        self.assertEqual(self.queue("turn_failures"), before)

    def test_content_only_with_its_flag(self) -> None:
        """What the messages say is shown only where that is asked for."""
        self.broker.push("c.turn_failures", failure({"message_id": "m3", "content": "my words"}))
        self.status("list", (), False, 0)
        self.assertNotIn("my words", self.out.getvalue())
        self.broker.start()
        self.status("list", ("m3",), True, 0)
        self.assertIn("my words", self.out.getvalue())

    def test_usage(self) -> None:
        """The help of the command and of each subcommand begins with how it is typed."""
        options = FailuresOptions()
        whole = "Usage: vumi_turn_failures [options] --connector NAME"
        self.assertEqual(options.getSynopsis(), f"{whole} list|replay|drop [ids]")
        options.parseOptions(["--connector", "demo", "list"])
        self.assertEqual(options.subOptions.getSynopsis(), f"{whole} list [options] [ids]")

    def test_limit(self) -> None:
        """With a limit no more than so many are read."""
        self.status("list", (), False, 2)
        self.assertIn("2 parked", self.out.getvalue())

    def test_named(self) -> None:
        """Only the named ones are listed; one that is not parked is said."""
        self.assertEqual(self.status("list", ("e2", "nothing"), False, 0), 1)
        self.assertEqual(self.out.getvalue().splitlines()[1:], ["1 parked", "not parked: nothing"])

    def test_empty(self) -> None:
        """An empty queue is said at once."""
        self.broker.delete_queue("c.turn_failures")
        command = Command(FailuresQueueReader(self.broker, "c", self.clock, 0), self.out, self.ask)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(command.list((), False, 0))), 0)
        self.assertEqual(self.out.getvalue(), "0 parked\n")

    def test_somebody_else_has_them(self) -> None:
        """What does not come is not waited for for ever."""
        reader = FailuresQueueReader(self.broker, "c", self.clock, 10)
        done = Deferred.fromCoroutine(Command(reader, self.out, self.ask).list((), False, 0))
        self.clock.pump([0.1] * 45)
        self.assertNoResult(done)
        self.clock.pump([0.1] * 10)
        self.assertEqual(self.successResultOf(done), 0)
        self.assertIn("3 parked", self.out.getvalue())

    def test_junk(self) -> None:
        """What is no failure message is shown as such."""
        self.broker.push("c.turn_failures", b"\xff not JSON")
        self.assertEqual(self.status("list", (), False, 0), 0)
        self.assertIn("unreadable", self.out.getvalue())


class ReplayTests(CommandCase):
    def test_chosen(self) -> None:
        """A chosen one goes back to the queue it came from, the others stay."""
        self.assertEqual(self.status("replay", ("e2",)), 0)
        self.assertEqual([json.loads(body) for body in self.queue("event")], [{"event_id": "e2"}])
        self.assertEqual(self.queue("inbound"), [])
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_all(self) -> None:
        """All go back in their order, what was no JSON as it was."""
        self.assertEqual(self.status("replay", ()), 0)
        self.assertEqual(self.queue("inbound"), [b'{"message_id": "m1"}', b"junk"])
        self.assertEqual(self.queue("turn_failures"), [])
        self.assertIn("3 replayed", self.out.getvalue())

    def test_unknown(self) -> None:
        """An id that is not parked is an error that names it; the others are replayed."""
        self.assertEqual(self.status("replay", ("nothing", "e2")), 1)
        self.assertEqual(self.out.getvalue(), "1 replayed\nnot parked: nothing\n")
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_confirmed_before_acknowledged(self) -> None:
        """What the broker does not take stays parked."""
        self.broker.nack_next(1)
        done = self.run_command("replay", ())
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
        self.failureResultOf(self.run_command("replay", ()), BrokerError)
        self.successResultOf(self.broker.stop())
        self.assertEqual(self.queue("inbound"), [b'{"message_id": "m1"}'])
        self.assertEqual(len(self.queue("turn_failures")), 2)
        self.assertEqual(self.out.getvalue(), "1 replayed\n")

    def test_connection_lost_while_reading(self) -> None:
        """What is read on a connection that is lost comes again: nothing is replayed twice."""
        for number in range(3):
            self.broker.push("c.turn_failures", failure({"message_id": f"x{number}"}))
        reader = FailuresQueueReader(self.broker, "c", self.clock, 7)  # one that somebody else has
        command = Command(reader, self.out, self.ask)
        done = Deferred.fromCoroutine(command.replay(()))
        self.clock.pump([0.1] * 3)
        self.broker.go_away()
        self.broker.come_back()
        self.clock.pump([0.1] * 100)
        self.assertEqual(self.successResultOf(done), 0)
        self.assertEqual((len(self.queue("inbound")), len(self.queue("event"))), (5, 1))
        self.assertEqual(self.queue("turn_failures"), [])

    def test_connection_lost_while_replaying(self) -> None:
        """One whose connection is lost after its replay may be parked still, which is said."""
        replay = FailuresQueueReader.replay

        async def and_lose(reader: FailuresQueueReader, parked: Any) -> None:
            await replay(reader, parked)
            self.broker.go_away()

        self.patch(FailuresQueueReader, "replay", and_lose)
        error = self.failureResultOf(self.run_command("replay", ()), DeliveriesLost)
        self.assertIn("m1", error.getErrorMessage())
        self.assertEqual(len(self.queue("turn_failures")), 3)

    def test_parked_again(self) -> None:
        """What is parked while the command runs, a replay that failed again, is not replayed in circles."""
        replay = FailuresQueueReader.replay

        async def and_fail_again(reader: FailuresQueueReader, parked: Any) -> None:
            await replay(reader, parked)
            self.broker.push("c.turn_failures", failure(parked.original))

        self.patch(FailuresQueueReader, "replay", and_fail_again)
        self.assertEqual(self.status("replay", ()), 0)
        self.assertEqual(len(self.queue("turn_failures")), 3)
        self.assertIn("3 replayed", self.out.getvalue())

    def test_clocks_differ(self) -> None:
        """One that a worker whose clock is ahead has parked is replayed as any other."""
        self.broker.push("c.turn_failures", failure({"message_id": "m9"}, when=NOW + 3600))
        self.assertEqual(self.status("replay", ("m9",)), 0)
        self.assertEqual(len(self.queue("turn_failures")), 3)

    def test_no_queue(self) -> None:
        """A failure message that does not say where it came from stays, and the exit status says so."""
        self.broker.push("c.turn_failures", failure({"message_id": "m4"}, queue=None))
        self.assertEqual(self.status("replay", ()), 1)
        self.assertEqual(len(self.queue("turn_failures")), 1)


class DropTests(CommandCase):
    def test_asked(self) -> None:
        """A chosen one is dropped after asking."""
        self.assertEqual(self.status("drop", ("m1",), False), 0)
        self.assertEqual(len(self.questions), 1)
        self.assertEqual(len(self.queue("turn_failures")), 2)

    def test_no(self) -> None:
        """A no leaves it where it is."""
        self.answer = False
        self.status("drop", ("m1",), False)
        self.assertEqual(len(self.queue("turn_failures")), 3)
        self.assertIn("0 dropped", self.out.getvalue())

    def test_yes_flag(self) -> None:
        """With --yes nobody is asked."""
        self.status("drop", ("m1",), True)
        self.assertEqual(self.questions, [])
        self.assertEqual(len(self.queue("turn_failures")), 2)


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

    def test_limit(self) -> None:
        """A limit that is no number is refused by name."""
        for text in ("ten", "-1", "1.5"):
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
        self.assertIn("--connector is required", err.getvalue())

    def test_amqp_flags(self) -> None:
        """The broker is named as for the worker."""
        options = FailuresOptions()
        options.parseOptions(["--hostname", "rabbit", "--vhost", "/other", "-c", "c", "list", "--limit", "5", "m1"])
        self.assertEqual(options.vumi_options["hostname"], "rabbit")
        self.assertEqual(options.vumi_options["vhost"], "/other")
        self.assertEqual((options.subCommand, options.subOptions["ids"]), ("list", ("m1",)))
        self.assertEqual(options.subOptions["limit"], 5)
