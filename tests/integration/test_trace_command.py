"""``vumi_turn_trace``, as it is installed, on the pages of two real workers of one channel."""

from __future__ import annotations

import json
import subprocess

from tests.integration.bridge_case import BridgeCase
from tests.integration.process import installed, run_process
from tests.integration.requirements import free_port
from tests.integration.vumi_words import inbound, new_person
from tests.integration.waiting import SOON, wait_for

CONTENT = "marker content"


class TraceCommandTests(BridgeCase):
    """Two workers share the messages of one channel, and the key of their traces."""

    connector = "traced"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """What the command says."""
        return run_process([*installed("vumi_turn_trace"), *arguments])

    def test_two_processes(self) -> None:
        """What two workers did for one person is one story by time; a third that is away is named."""
        ports = [free_port(), free_port(), free_port()]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        flags = [flag for url in urls[:2] for flag in ("--url", url)]
        configs = [
            {"management_bind": f"127.0.0.1:{port}", "trace_key": "k", "amqp_prefetch_count": 1} for port in ports
        ]
        with self.running(configs[0]), self.started(configs[1]) as second:
            second.wait_until_healthy()
            person = new_person()
            ids = {self.say(inbound(from_addr=person, content=CONTENT))["message_id"] for _ in range(20)}
            for name in ids:
                self.turn.wait_for("messages", name)

            def known() -> list[dict[str, object]]:
                done = self.command("--json", *flags, person)
                found = [json.loads(line) for line in done.stdout.splitlines()]
                settled = [one for one in found if one["steps"][-1]["step"] == "delivered"]
                return found if len(settled) == len(ids) else []

            found = wait_for(known, "all to be traced", SOON)
            self.assertEqual({one["id"] for one in found}, ids)
            self.assertEqual(len({one["person"] for one in found}), 1)
            self.assertEqual({step["process"] for one in found for step in one["steps"]}, set(urls[:2]))  # type: ignore[attr-defined]
            moments = [one["steps"][0]["at"] for one in found]  # type: ignore[index]
            self.assertEqual(moments, sorted(moments))
            self.assertNotIn(CONTENT, json.dumps(found))
            self.assertNotIn(person[1:], json.dumps(found))

            name = min(ids)
            one = self.command(*flags, "--url", urls[2], name)
            self.assertEqual(one.returncode, 1)
            self.assertIn(f"{name}  traced  from a person, person ", one.stdout)
            self.assertIn("delivered after 1 try", one.stdout)
            self.assertIn(f"{urls[2]}: no connection", one.stderr)
            nothing = self.command(*flags, "0" * 32)
            self.assertEqual((nothing.returncode, nothing.stdout), (1, ""))
