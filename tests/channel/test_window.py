"""The windows of a process's channels."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.channel.window import ConnectorWindow, ProcessWindows
from vumi_turn.turn.verdicts import MESSAGE, STATUS


class FakeConnector:
    """Notes how far its queues' windows are open."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = {"inbound": 0, "event": 0}
        self.error: Exception | None = None

    def allow_more(self, kind: str, count: int) -> None:
        if self.error is not None:
            raise self.error
        self.open[kind] = count


class WindowTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.windows = ProcessWindows()
        self.connectors = [FakeConnector(f"channel_{number}") for number in range(50)]
        self.each = [ConnectorWindow(connector, self.windows) for connector in self.connectors]  # type: ignore[arg-type]

    def opened(self) -> list[int]:
        return [connector.open["inbound"] for connector in self.connectors]

    def test_alone(self) -> None:
        """A channel alone gets what it asks for, to 1,000, for messages and for statuses."""
        self.each[0].blocked(MESSAGE, 1500)
        self.each[0].blocked(STATUS, 700)
        self.assertEqual(self.connectors[0].open, {"inbound": 1000, "event": 700})
        self.each[0].blocked(MESSAGE, 0)
        self.assertEqual(self.connectors[0].open, {"inbound": 0, "event": 700})

    def test_together(self) -> None:
        """The windows of 50 channels open by no more together than that of one, each by the same."""
        for window in self.each:
            window.blocked(MESSAGE, 1000)
        self.assertEqual(self.opened(), [20] * 50)

    def test_fairly(self) -> None:
        """Who wants little gets it; the others get equal parts of the rest, and more when one wants less."""
        for number, wanted in enumerate((2000, 10, 600)):
            self.each[number].blocked(MESSAGE, wanted)
        self.assertEqual(self.opened()[:3], [495, 10, 495])
        self.each[2].blocked(MESSAGE, 100)
        self.assertEqual(self.opened()[:3], [890, 10, 100])

    def test_a_channel_that_goes(self) -> None:
        """Its share is the others', and nothing is asked of its connector any more."""
        self.each[0].blocked(MESSAGE, 800)
        self.each[1].blocked(MESSAGE, 800)
        self.connectors[0].error = KeyError("inbound")
        self.each[0].leave()
        self.assertEqual(self.opened()[:2], [500, 800])

    def test_one_that_fails(self) -> None:
        """A window that cannot be opened is logged with its channel's name, and changes nothing for the others."""
        self.connectors[0].error = ValueError("closed")
        self.each[0].blocked(MESSAGE, 1000)
        self.each[1].blocked(MESSAGE, 1000)
        self.assertEqual(self.opened()[1], 500)
        logged: list[Any] = self.flushLoggedErrors(ValueError)
        self.assertEqual(len(logged), 2)
