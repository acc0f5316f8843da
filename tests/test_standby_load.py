"""The account of what became of messages when workers ended finds what is wrong."""

from __future__ import annotations

from typing import Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.standby_load import Result, judge
from tests.integration.turn_server import Request


def got(message: str, began: float, ended: Optional[float] = None) -> Request:
    """A request that Turn got, answered 0.1 s later where it is not said otherwise."""
    body = b'{"message": {"id": "%b"}}' % message.encode()
    return Request("messages", "/messages", {}, body, began, began + 0.1 if ended is None else ended, 200)


class JudgeTests(SynchronousTestCase):
    """Two people say a1, a2 and b1; a worker ends at 10."""

    def judge(self, *requests: Request) -> Result:
        return judge({"a": ["a1", "a2"], "b": ["b1"]}, list(requests), [10.0])

    def test_well(self) -> None:
        """A message that Turn had not answered at the end may come again."""
        result = self.judge(got("a1", 9.5), got("b1", 9.95), got("b1", 13.0), got("a2", 13.1))
        self.assertEqual((result.messages, result.lost, result.out_of_order), (3, set(), set()))
        self.assertEqual((result.twice, result.unanswered, result.not_in_flight), ({"b1"}, {"b1"}, set()))
        self.assertAlmostEqual(result.gaps[0], 3.05)

    def test_acknowledgement_on_its_way(self) -> None:
        """So may one that had been answered just before: its acknowledgement was on its way."""
        result = self.judge(got("a1", 9.5, 9.8), got("a1", 11.0), got("a2", 11.2), got("b1", 11.3))
        self.assertEqual((result.twice, result.unanswered, result.not_in_flight), ({"a1"}, set(), set()))

    def test_not_in_flight(self) -> None:
        """One that was answered long before the end, or came after it, may not."""
        early = self.judge(got("a1", 9.0), got("a1", 11.0), got("a2", 11.2), got("b1", 11.3))
        self.assertEqual(early.not_in_flight, {"a1"})
        late = self.judge(got("a1", 9.0), got("a2", 11.2), got("b1", 11.3), got("b1", 12.0))
        self.assertEqual(late.not_in_flight, {"b1"})

    def test_lost(self) -> None:
        """One that Turn never got is lost."""
        self.assertEqual(self.judge(got("a1", 9.0), got("b1", 11.0)).lost, {"a2"})

    def test_out_of_order(self) -> None:
        """A person's later message may not come first, nor an earlier one again after it."""
        first = self.judge(got("a2", 9.0), got("a1", 9.5), got("b1", 11.0))
        again = self.judge(got("a1", 9.9), got("a2", 9.95), got("a1", 11.0), got("a2", 11.1), got("b1", 12.0))
        self.assertEqual((first.out_of_order, again.out_of_order), ({"a"}, {"a"}))
