"""Fifty channels in one worker: what befalls all of them, and what befalls one."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Iterable

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.fleet_case import TOKEN, FleetCase
from tests.integration.silent_link import SilentLink
from tests.integration.turn_server import TurnServer
from tests.integration.waiting import wait_for

MANY = tuple(f"many_{number:02}" for number in range(50))

#: The channels of which something is wrong.
REFUSED, SILENT = "many_07", "many_23"

#: Bytes by which the worker's memory may grow in an outage, with some messages held on each channel.
GROWTH = 20 * 2**20


class ManyCase(FleetCase):
    """Fifty channels that have one Turn, so that it is away for all of them."""

    names = MANY
    defaults = {"max_retries": 0}

    def setUp(self) -> None:
        self.turn = TurnServer(TOKEN)
        self.addCleanup(self.turn.close)
        super().setUp()

    def channel(self, name: str, **changes: Any) -> dict[str, Any]:
        """See :class:`FleetCase`."""
        self.turns[name] = self.turn
        return super().channel(name, **changes)

    def wait_for_channels(self, names: Iterable[str]) -> None:
        """Wait until all of these are well."""
        wanted = set(names)

        def look() -> bool:
            channels = self.health()["channels"]
            return wanted <= {name for name in channels if channels[name].get("health") == "ok"}

        wait_for(look, "the channels to be well", 40)

    def all_delivered(self, messages: list[dict[str, Any]]) -> None:
        """Wait until Turn has taken all of these."""
        wanted = {message["message_id"] for message in messages}
        wait_for(
            lambda: wanted <= {each.id for each in self.turn.of("messages") if each.status == 200},
            "Turn to get all",
            70,
        )

    def lines(self, since: int = 0) -> list[str]:
        """The log's lines but those that stand for one message."""
        return [line for line in self.fleet.log[since:].splitlines() if "recorder#info" not in line]


class OutageTests(ManyCase):
    def rss(self) -> int:
        """The worker's memory, in bytes."""
        lines = Path(f"/proc/{self.fleet.pid}/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))

    def test_outages(self) -> None:
        """
        The broker's end and Turn's have as many lines in the log as with one
        channel, or a few more; the memory is bounded, and all is delivered.
        """
        self.fleet.start()
        self.wait_for_channels(MANY)
        memory, began = self.rss(), len(self.fleet.log)
        self.node.kill()
        wait_for(lambda: self.fleet.health() == 503, "the worker to notice")
        self.node.start()
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.wait_for_channels(MANY)
        of_broker = self.lines(began)
        self.assertLessEqual(len(of_broker), 4, of_broker)

        began = len(self.fleet.log)
        self.turn.refuse()
        said = [self.say(name) for name in MANY for _ in range(5)]
        wait_for(lambda: sum("Turn is away" in line for line in self.lines(began)) == 10, "the log to say so")
        wait_for(lambda: self.health()["health"] == "degraded", "health to say so")
        wait_for(lambda: sum(self.held()) == 250, "all to be held")
        held = self.rss()
        self.turn.listen()
        self.all_delivered(said)
        wait_for(lambda: sum("Turn is back" in line for line in self.lines(began)) == 10, "the log to say so")
        self.fleet.stop()
        of_turn = [line for line in self.lines(began) if "Turn is" in line]
        self.assertEqual(sum("40 more lines of 40 channels were left out" in line for line in of_turn), 2, of_turn)
        self.assertLess(len(of_turn), 30, of_turn)
        print(
            f"\n    50 channels: {memory / 2**20:.1f} MB, {held / 2**20:.1f} MB while Turn is away with 250 held;"
            f" lines of the broker's outage {len(of_broker)}, of Turn's {len(of_turn)}"
        )
        self.assertLess(held - memory, GROWTH)

    def held(self) -> list[float]:
        """How many messages each channel holds, by the metrics."""
        text = self.http("").get("/metrics").body.decode()
        return [float(line.split()[-1]) for line in text.splitlines() if line.startswith("vumi_turn_waiting{")]


class OneOfManyTests(ManyCase):
    def amqp_port(self) -> int:
        """The broker does not answer one call of one channel."""
        self.link = SilentLink(self.node.port, f"{SILENT}.inbound")
        self.addCleanup(self.link.close)
        return self.link.port

    def test_refused_and_unanswered(self) -> None:
        """
        A queue that answers 406 and a call that is never answered leave the
        other channels and the connections untouched; the second is made again.
        """
        self.peer.channel.queue_declare(f"{REFUSED}.inbound", durable=True, arguments={"x-max-length": 7})
        self.used.add(REFUSED)
        self.fleet.start(wait=False)
        wait_for(lambda: self.fleet.health() is not None, "the worker to listen")
        others = [name for name in MANY if name not in (REFUSED, SILENT)]
        self.wait_for_channels(others)
        began = time.monotonic()
        self.assertTrue(self.link.swallowed.is_set())
        connections = sorted(self.connections())
        late = self.say(SILENT)
        said = [self.say(name) for name in others]
        self.all_delivered(said)
        self.assertLess(time.monotonic() - began, 8)
        self.assertEqual({self.health()["channels"][name]["health"] for name in (REFUSED, SILENT)}, {"down"})
        self.wait_for_channels([SILENT, *others])
        self.all_delivered([late, *(self.say(name) for name in others)])
        report = self.health()["channels"][REFUSED]
        self.assertIn("406", report["components"]["amqp"]["reason"])
        self.assertEqual(sorted(self.connections()), connections)
        ids = [each.id for each in self.turn.of("messages")]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertNotIn("Lost the connection", self.fleet.log)
        self.assertNotIn("Traceback", self.fleet.log)
