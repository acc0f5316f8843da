"""
The failures queue of one connector: what is parked there, read, replayed and
settled one by one.

Whoever reads the queue holds all of it for as long as it takes, because AMQP
has no other way to see what is behind the first messages. So readers take
turns, and each leaves only when everything is back in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Awaitable, Callable, Generic, Optional, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from ..broker.interface import (
    Broker,
    BrokerError,
    BrokerState,
    BrokerUnavailable,
    Delivery,
    Outcome,
    QueueCounts,
    QueueLock,
)
from .headers import ours, replay_headers
from .parked import Parked, read_parked
from .queue import FAILURES, body_of

#: Seconds without another message after which no more are expected: somebody else holds them.
QUIET = 5.0

#: Seconds between two looks at what has come.
LOOK = 0.1

#: Seconds between two looks at the queue's numbers.
POLL = 0.25

#: Seconds for RabbitMQ to put back what was read.
GIVE_BACK_TIMEOUT = 60.0

#: Seconds to close AMQP channels.
STOP_TIMEOUT = 10.0

#: Seconds to wait for another reader to finish, and for the queue's number to
#: stand still: RabbitMQ may still be putting back what a killed reader had.
TURN_TIMEOUT = 120.0

#: How many parked messages are read at a time: AMQP's largest prefetch.
MOST = 65535

#: A message that a quorum queue has delivered so often is put to the queue's
#: end anew when it is given back: RabbitMQ 4 drops it after 20 deliveries.
RENEW_AFTER = 10

K = TypeVar("K")


class DeliveriesLost(BrokerError):
    """The connection to the broker was lost in the middle: what was not dealt with is still parked."""


class QueueInUse(Exception):
    """Somebody else reads the queue, and does not finish."""


@dataclass
class _Held(Generic[K]):
    """A message in hand: what was kept of it, and what settles it."""

    id: str
    delivery: Delivery
    kept: Optional[K]
    settled: Deferred[Outcome]


class FailuresQueueReader:
    """
    Works through one connector's failures queue.

    :param broker: a started broker, which is connected.
    :param connector: the connector's name.
    :param clock: for the waits.
    :param notice: told a sentence where somebody waits for another reader.
    :param name: what follows the connector's name in the queue's name.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        notice: Callable[[str], None] = lambda sentence: None,
        name: str = FAILURES,
    ) -> None:
        self.connector = connector
        self.queue = f"{connector}.{name}"
        self._broker = broker
        self._clock = clock
        self._notice = notice

    async def work(
        self,
        keep: Callable[[Parked], Optional[K]],
        treat: Callable[[K], Awaitable[Outcome]],
        limit: int = 0,
    ) -> tuple[int, int]:
        """
        Read what is parked, oldest first, and then deal with what is wanted.
        What is parked meanwhile, a replay that failed again say, is left alone.

        :param keep: shown each parked message, of which nothing but its id and
            what this gives back stays in memory; None leaves it in the queue.
            After a lost connection it is shown some of them again.
        :param treat: given what was kept, in order, once everything is read:
            ACK takes the message out of the queue, REQUEUE leaves it there.
        :param limit: how many to read at the most; 0 is as many as there are, up to :data:`MOST`.
        :return: how many were read, and how many there are.
        :raises QueueInUse: somebody else reads the queue.
        :raises vumi_turn.broker.interface.BrokerError: the broker did not take a
            replay, or has gone meanwhile.
        """
        turn = self._broker.scope(f"taking turns at {self.queue}")
        turn.start()
        try:
            waiting = await self._wait_for_turn(turn.lock(f"{self.queue}_reader"))
            most = min(limit or waiting, waiting, MOST)
            if not most:
                return 0, waiting
            read, taken = await self._read_and_treat(most, keep, treat)
            await self._until_given_back(waiting - taken)
            return read, waiting
        finally:
            await turn.stop(STOP_TIMEOUT)

    async def _wait_for_turn(self, lock: QueueLock) -> int:
        """Wait until nobody else reads the queue and its number stands still; the number."""
        started = self._clock.seconds()
        last: Optional[int] = None
        told = False
        while True:
            counts = await self._broker.counts(self.queue) or QueueCounts(0, 0)
            elapsed = self._clock.seconds() - started
            # Whoever reads it also has the lock: asking for that would be an error line in RabbitMQ's log.
            if counts.consumers or not await self._locked(lock):
                if elapsed > TURN_TIMEOUT:
                    raise QueueInUse(f"somebody else reads {self.queue}; try again later")
                if not told:
                    self._notice(f"somebody else reads {self.queue}; waiting")
                told, last = True, None
            elif counts.messages == last or elapsed > TURN_TIMEOUT:
                return counts.messages
            else:
                last = counts.messages
            await deferLater(self._clock, POLL)

    async def _locked(self, lock: QueueLock) -> bool:
        """Whether the turn is ours. Without the right to make the lock's queue the number of consumers has to do."""
        try:
            return lock.held or await lock.acquire()
        except BrokerUnavailable:
            return self._broker.state is not BrokerState.CONNECTING

    async def _read_and_treat(
        self, most: int, keep: Callable[[Parked], Optional[K]], treat: Callable[[K], Awaitable[Outcome]]
    ) -> tuple[int, int]:
        """How many were read, and how many of them were taken out of the queue."""
        reading = self._broker.scope(f"reading {self.queue}")
        reading.start()
        found: list[_Held[K]] = []
        taken = 0
        try:
            await self._read(reading, most, keep, found)
            read = len(found)
            for held in found:
                if held.kept is None:
                    continue
                if held.delivery.lost:
                    raise DeliveriesLost("the connection was lost")
                if await treat(held.kept) is Outcome.ACK:
                    if held.delivery.lost:
                        raise DeliveriesLost(f"the connection was lost after {held.id} was dealt with")
                    taken += 1
                    held.settled.callback(Outcome.ACK)
            await self._renew(found)
            return read, taken
        finally:
            # With its AMQP channel everything that is not settled goes back at once, to its place.
            await reading.stop(STOP_TIMEOUT)
            for held in found:
                if not held.settled.called:
                    held.settled.callback(Outcome.REQUEUE)

    async def _read(
        self, scope: Broker, most: int, keep: Callable[[Parked], Optional[K]], found: list[_Held[K]]
    ) -> None:
        """Take so many of the oldest, unsettled; fewer if the others don't come."""
        last_seen = self._clock.seconds()
        full = False  # what comes once it is full was parked meanwhile, and goes back with the AMQP channel

        async def take(delivery: Delivery) -> Outcome:
            nonlocal last_seen
            last_seen = self._clock.seconds()
            settled: Deferred[Outcome] = Deferred()
            if full:
                found.append(_Held("", delivery, None, settled))
                return await settled
            parked = read_parked(delivery)
            found.append(_Held(parked.id, delivery, keep(parked), settled))
            if delivery.delivery_count < RENEW_AFTER:
                delivery.body = b""  # what is kept of 10,000 is small, what they say may not be
            del parked
            return await settled

        consumer = scope.consume(self.queue, take, prefetch=most)
        consumer.unpause()
        while len(found) < most and self._clock.seconds() - last_seen < QUIET:
            await deferLater(self._clock, LOOK)
            # Those of a connection that is gone come again on the next one.
            found[:] = [each for each in found if not each.delivery.lost]
        full = True

    async def _renew(self, found: list[_Held[K]]) -> None:
        """Put what was delivered often to the queue's end anew."""
        publisher = self._broker.publisher(self.queue)
        for held in found:
            if held.delivery.delivery_count < RENEW_AFTER or held.settled.called or held.delivery.lost:
                continue
            try:
                await publisher.publish(held.delivery.body, headers=ours(held.delivery.headers))
            except BrokerError:
                return  # then they go back as the others do
            held.settled.callback(Outcome.ACK)

    async def _until_given_back(self, expected: int) -> None:
        """Wait until the queue has everything again, so that whoever comes next sees it."""
        started = self._clock.seconds()
        while self._clock.seconds() - started < GIVE_BACK_TIMEOUT:
            try:
                counts = await self._broker.counts(self.queue)
            except BrokerError:
                return  # whoever comes next waits for that too
            if counts is None or counts.messages >= expected:
                return
            await deferLater(self._clock, POLL)

    async def replay(self, parked: Parked) -> None:
        """Publish the original to the queue it came from, marked as a replay; returns once the broker has it."""
        publisher = self._broker.publisher(f"{self.connector}.{parked.queue}")
        body = body_of(parked.original) if parked.raw is None else parked.raw
        await publisher.publish(body, headers=replay_headers(parked.choice))
