"""Log lines of many channels that say the same."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import provider

from vumi_turn.service.log_limit import CHANNELS, MORE_LINES, ProcessLineLimit
from vumi_turn.service.logs import filtered

OURS = "vumi_turn.delivery.outage_log"


class LimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.written: list[str] = []

        @provider(ILogObserver)
        def write(event: Any) -> None:
            self.written.append(formatEvent(event))

        self.limit = ProcessLineLimit(self.clock)
        observer = filtered(write, "info", self.limit)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.addCleanup(self.limit.stop)
        self.log = Logger(OURS)

    def say(self, connector: str, log_format: str = "Turn is away", **fields: Any) -> None:
        self.log.warn(log_format, connector=connector, **fields)

    def of(self, what: str) -> int:
        return len([line for line in self.written if line.startswith(what)])

    def test_fifty_channels(self) -> None:
        """Of the lines that 50 channels have at once the first are written, and one names the other channels."""
        for number in range(50):
            self.say(f"channel_{number}")
        self.assertEqual(self.of("Turn is away"), CHANNELS)
        self.clock.advance(60)
        self.assertEqual(len(self.written), CHANNELS + 1)
        self.assertIn("40 more lines of 40 channels", self.written[-1])
        self.assertIn("channel_10 (1), ", self.written[-1])
        self.assertIn("channel_49 (1)", self.written[-1])
        self.say("channel_49")
        self.assertEqual(self.of("Turn is away"), CHANNELS + 1)

    def test_a_busy_channel(self) -> None:
        """One channel with many lines does not keep another's first one out; together they are bounded."""
        self.say("quiet_0")
        for _ in range(1000):
            self.say("busy")
        self.say("quiet")
        self.assertEqual(self.of("Turn is away"), 3 + MORE_LINES)

    def test_one_channel(self) -> None:
        """In a process of one channel each line is written: its own limits hold."""
        for _ in range(1000):
            self.say("only")
        self.clock.advance(60)
        self.assertEqual(len(self.written), 1000)

    def test_kinds(self) -> None:
        """Lines that say something else are counted for themselves."""
        for number in range(CHANNELS):
            self.say(f"channel_{number}")
        self.say("another", "Turn is back")
        self.assertEqual(self.of("Turn is back"), 1)

    def test_never_left_out(self) -> None:
        """What stands for one message, has an id to be found by, or is of no channel or another program is written."""
        for number in range(100):
            self.say(f"c{number}", "settled {n}", n=number, log_for_each_message=True)
            self.say(f"c{number}", "failed {error_id}", error_id=number)
            self.log.warn("no channel")
            Logger("mine").warn("my own", connector=f"c{number}")
        self.assertEqual(len(self.written), 400)

    def test_stop(self) -> None:
        """At the end it is said what was left out, and there is no timer; what comes then is written."""
        for number in range(50):
            self.say(f"channel_{number}")
        self.limit.stop()
        self.assertIn("40 more lines", self.written[-1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        for number in range(50):
            self.say(f"channel_{number}")
        self.assertEqual(self.of("Turn is away"), CHANNELS + 50)

    def test_long(self) -> None:
        """The line that names channels is bounded, and has the level of those that it stands for."""
        for number in range(500):
            self.log.emit(LogLevel.error, "Turn does not let us in", connector=f"a_channel_with_a_long_name_{number}")
        self.clock.advance(60)
        self.assertLess(len(self.written[-1]), 1300)
        self.assertTrue(self.written[-1].endswith(", …"))
