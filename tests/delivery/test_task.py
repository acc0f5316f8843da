"""The state machine of one delivery."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.delivery.fakes import FakeRequest, FakeTurn
from vumi_turn.delivery import Result
from vumi_turn.delivery.observer import BlockedTasks
from vumi_turn.delivery.task import BLOCKED, BUSY, TRANSITIONS, DeliveryTask, Event, IllegalTransition, State


class TaskTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, int]] = []
        self.counter = BlockedTasks(self.clock, self)

    def blocked(self, kind: str, count: int) -> None:
        self.told.append((kind, count))

    def task(self, *events: Event) -> DeliveryTask:
        task = DeliveryTask(FakeRequest(FakeTurn(self.clock), "a"), self.counter)
        for event in events:
            task.on(event)
        return task


class TransitionTests(TaskTestCase):
    def test_every_state_is_reached_and_ends(self) -> None:
        """From NEW every state can be reached, and from every state the end."""
        reached = {State.NEW}
        while more := {to for (start, _), to in TRANSITIONS.items() if start in reached} - reached:
            reached |= more
        self.assertEqual(reached, set(State))
        for state in set(State) - {State.ENDED}:
            with case(state=state):
                self.assertIs(TRANSITIONS[state, Event.END], State.ENDED)

    def test_the_end_is_final(self) -> None:
        """Nothing leads out of the end."""
        self.assertEqual({to for (start, _), to in TRANSITIONS.items() if start is State.ENDED}, {State.ENDED})

    def test_ordinary_way(self) -> None:
        """A request that Turn takes at once is prepared, sent and ended, and never blocked."""
        task = self.task(Event.START, Event.PREPARED, Event.POST)
        self.assertEqual((task.state, task.busy), (State.POSTING, True))
        task.on(Event.ANSWERED)
        task.on(Event.END)
        self.assertEqual((task.state, self.clock.getDelayedCalls()), (State.ENDED, []))

    def test_what_is_not_in_the_table(self) -> None:
        """An event that a state does not have is an error, and changes nothing."""
        task = self.task(Event.START)
        self.assertRaises(IllegalTransition, task.on, Event.ANSWERED)
        self.assertIs(task.state, State.PREPARING)

    def test_recalled(self) -> None:
        """What is recalled while it is busy goes back when that has ended."""
        for first, last in ((Event.POST, Event.ANSWERED), (Event.PARK, Event.PARK_FAILED)):
            with case(first=first, last=last):
                task = self.task(Event.START, Event.PREPARED, first, Event.RECALL)
                self.assertEqual((task.busy, task.forced_result), (True, None))
                task.on(last)
                self.assertIs(task.forced_result, Result.REQUEUE)

    def test_busy_ones_can_be_recalled(self) -> None:
        """Every state in which something is under way can be recalled; no other has to be."""
        self.assertEqual({state for state, event in TRANSITIONS if event is Event.RECALL}, BUSY)


class BlockedTests(TaskTestCase):
    def test_told_once_for_each_change(self) -> None:
        """The window is told how many are blocked, once for all changes of a reactor turn."""
        tasks = [self.task(Event.QUEUE) for _ in range(3)]
        self.assertEqual(self.told, [])
        self.clock.advance(0)
        tasks[0].on(Event.START)
        tasks[1].on(Event.END)
        self.clock.advance(0)
        self.assertEqual(self.told, [("message", 3), ("message", 1)])
        tasks[0].on(Event.PARK)
        tasks[0].on(Event.END)
        self.clock.advance(0)
        self.assertEqual(len(self.told), 2)

    def test_which(self) -> None:
        """What waits for Turn is not blocked; what waits behind its key, alone, or to be parked, is."""
        free = {State.NEW, State.PREPARING, State.WAITING, State.POSTING, State.LAST_POST, State.RECALLED, State.ENDED}
        self.assertEqual(set(State) - BLOCKED, free)
