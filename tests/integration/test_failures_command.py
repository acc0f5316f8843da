"""The installed command ``vumi_turn_failures`` beside a running worker, on a real RabbitMQ."""

from __future__ import annotations

import subprocess
import sys

from tests.integration.bridge_case import BridgeCase
from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST
from tests.integration.turn_server import Answer
from tests.integration.vumi_words import inbound
from tests.integration.waiting import wait_for


class FailuresCommandTests(BridgeCase):
    connector = "failures_command"

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run it as it is installed, in a process of its own."""
        flags = ["--port", str(self.node.port), "--username", USERNAME, "--password", PASSWORD, "--vhost", VHOST]
        return subprocess.run(
            [sys.executable, "-c", "from vumi_turn.failures_command import main; main()"]
            + flags
            + ["--connector", self.connector, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def park(self, count: int) -> list[str]:
        """Let Turn refuse so many messages."""
        self.turn.script(*[Answer(status=400)] * count)
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

    def test_wrong_use(self) -> None:
        """Wrong flags are exit status 2 and a line that says what is wrong."""
        done = self.command("replay")
        self.assertEqual(done.returncode, 2)
        self.assertIn("replay: name the ids to replay, or say --all", done.stderr)
        self.assertNotIn("Traceback", done.stderr)
