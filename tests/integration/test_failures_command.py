"""The installed command ``vumi_turn_failures`` beside a running worker, on a real RabbitMQ."""

from __future__ import annotations

import json
import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

from tests.integration.bridge_case import BridgeCase
from tests.integration.process import installed, run_process, start_process
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for


class FailuresCommandTests(BridgeCase):
    connector = "failures_command"

    def command(self, *arguments: str, stdin: str = "", **flags: str) -> subprocess.CompletedProcess[str]:
        """Run it as it is installed, in a process of its own."""
        return run_process(self.command_line(*arguments, **flags), answer=stdin, timeout=180)

    @contextmanager
    def started_command(self, *arguments: str, **flags: str) -> Iterator[subprocess.Popen[str]]:
        pipe = subprocess.PIPE
        process = start_process(self.command_line(*arguments, **flags), stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def command_line(self, *arguments: str, **flags: str) -> list[str]:
        """The command with the broker's flags."""
        chosen = {
            "port": str(self.node.port),
            "username": USERNAME,
            "password": PASSWORD,
            "vhost": VHOST,
            "connector": self.connector,
            **flags,
        }
        named = [part for name, value in chosen.items() for part in (f"--{name}", value)]
        return [*installed("vumi_turn_failures"), *named, *arguments]

    def park(self, count: int) -> list[str]:
        """Let Turn refuse so many messages."""
        self.turn.script(*[TurnResponse(status=400)] * count)
        messages = [self.say(inbound()) for _ in range(count)]
        queue = self.rig.queue("turn_failures")
        wait_for(lambda: self.peer.ready(queue) == count, f"{count} parked messages")
        return [message["message_id"] for message in messages]

    def test_list_replay_drop(self) -> None:
        """Parked messages are listed, replayed through the running worker to Turn, and dropped after asking."""
        first, second, third = self.park(3)
        listed = self.command("list")
        self.assertEqual(listed.returncode, 0, listed.stderr)
        for name in (first, second, third):
            self.assertIn(f"{name}  inbound  permanent  ", listed.stdout)
        self.assertIn("3 parked", listed.stdout)

        before = len(self.turn.messages())
        replayed = self.command("replay", first)
        self.assertEqual((replayed.returncode, replayed.stdout), (0, "1 replayed\n"), replayed.stderr)
        wait_for(lambda: len(self.turn.messages()) == before + 1, "the replayed message at Turn")
        self.assertEqual(self.turn.messages()[-1]["message"]["id"], first)

        kept = self.command("drop", second, stdin="n\n")
        self.assertIn("0 dropped", kept.stdout)
        dropped = self.command("drop", second, stdin="y\n")
        self.assertIn("1 dropped", dropped.stdout)
        left = self.command("list")
        self.assertIn("1 parked", left.stdout)
        self.assertIn(third, left.stdout)

        everything = self.command("replay", "--all")
        self.assertEqual(everything.stdout, "1 replayed\n", everything.stderr)
        wait_for(lambda: len(self.turn.messages()) == before + 2, "the last message at Turn")
        self.assertIn("0 parked", self.command("list").stdout)

    def test_order(self) -> None:
        """A look, and a replay of one, leave the others in their order; all are replayed in it."""
        ids = self.park(5)
        self.command("list")
        self.command("replay", ids[2])
        self.turn.wait_for("messages", ids[2])
        self.turn.requests.clear()
        self.assertEqual(self.command("replay", "--all").stdout, "4 replayed\n")
        wait_for(lambda: len(self.turn.messages()) == 4, "the replayed ones at Turn")
        queue = self.rig.queue("turn_failures")
        self.assertEqual(self.peer.ready(queue), 0)

    def test_broker_dies_in_the_middle(self) -> None:
        """A broker that dies while the user is asked costs nothing: all is parked still, and that is said."""
        first, second = self.park(2)
        with self.started_command("drop", first, second) as process:
            assert process.stdin is not None and process.stdout is not None
            asked = b""
            while b"[y/N]" not in asked:
                read = os.read(process.stdout.fileno(), 1000)
                self.assertTrue(read, f"no question but {asked!r}")
                asked += read
            files = Path(f"/proc/{process.pid}/fd")
            before = len(list(files.iterdir()))
            self.node.kill()
            wait_for(lambda: len(list(files.iterdir())) < before, "the command to notice")
            out, err = process.communicate("y\ny\n", timeout=30)
        self.node.start()
        self.assertEqual(process.returncode, 1, out + err)
        self.assertIn("0 dropped", out)
        self.assertIn("still parked", err)
        self.assertNotIn("Traceback", err)
        self.worker.wait_until_healthy()
        listed = self.command("list").stdout
        self.assertIn(first, listed)
        self.assertIn("2 parked", listed)

    def test_many(self) -> None:
        """With 10,000 parked, a replay right after a list, and right after one that was killed, finds all of them."""
        queue = self.rig.queue("turn_failures")
        original = inbound()
        body = {"message_type": "failure_message", "message_version": "20110921", "message": original}
        body |= {"timestamp": "2024-01-01 00:00:00.000000", "failure_code": "temporary", "reason": "Turn answered 500."}
        body["helper_metadata"] = {"turn": {"queue": "elsewhere"}}
        for number in range(10_000):
            message = {**original, "message_id": f"m{number}"}
            self.peer.channel.basic_publish("vumi", queue, json.dumps({**body, "message": message}).encode())
        wait_for(lambda: self.peer.ready(queue) == 10_000, "the parked messages", 60)
        listed = self.command("list")
        self.assertEqual((listed.returncode, listed.stdout.splitlines()[-1]), (0, "10000 parked"), listed.stderr)
        ids = [line.split()[0] for line in listed.stdout.splitlines()[:-1]]
        self.assertEqual(ids, [f"m{number}" for number in range(10_000)])
        self.assertEqual(self.peer.ready(queue), 10_000)
        with self.started_command("list") as process:
            time.sleep(1.5)
            process.kill()
        with self.started_command("list", "--json") as one, self.started_command("list", "m9999") as other:
            first, second = one.communicate(timeout=180), other.communicate(timeout=180)
        self.assertEqual(json.loads(first[0].splitlines()[-1]), {"parked": 10_000, "left": 0, "unread": 0}, first[1])
        self.assertIn("1 parked", second[0], second[1])
        dropped = self.command("drop", "--all", "--yes")
        self.assertEqual((dropped.returncode, dropped.stdout), (0, "10000 dropped\n"), dropped.stderr)
        self.assertEqual(self.peer.ready(queue), 0)

    def test_nothing_to_work_on(self) -> None:
        """A connector that is mistyped leaves no queue behind; a wrong password is said to be one."""
        typo = self.command("list", connector="no_such_connector")
        self.assertEqual(typo.returncode, 1, typo.stdout)
        self.assertIn("there is no queue no_such_connector.turn_failures", typo.stderr)
        self.assertFalse(self.peer.exists("no_such_connector.turn_failures"))
        wrong = self.command("list", password="mistaken")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("check them", wrong.stderr)
        self.assertNotIn("mistaken", wrong.stderr)
        self.assertNotIn("Traceback", typo.stderr + wrong.stderr)

    def test_wrong_use(self) -> None:
        """Wrong flags are exit status 2 and a line that says what is wrong."""
        done = self.command("replay")
        self.assertEqual(done.returncode, 2)
        self.assertIn("replay: name the ids to replay, or choose by a filter, or say --all", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
