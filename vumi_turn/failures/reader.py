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

from ..broker.interface import Broker, BrokerError, Delivery, Outcome
from .parked import Parked, read_parked
from .queue import FAILURES, body_of

#: Seconds without another message after which no more are expected: somebody else holds them.
QUIET = 5.0

#: Seconds between two looks at what has come.
LOOK = 0.1

#: Seconds between two looks at the queue's numbers.
POLL = 0.25

#: Seconds for a queue's number to stand still: RabbitMQ may still be requeueing
#: what a reader that was killed had in hand.
SETTLE_TIMEOUT = 10.0

#: Seconds for RabbitMQ to put back what was read; 10,000 take it about 15.
GIVE_BACK_TIMEOUT = 90.0

#: Seconds to wait for another reader to finish.
TURN_TIMEOUT = 120.0

#: How many parked messages are read at a time: AMQP's largest prefetch.
MOST = 65535

#: A message that a quorum queue has delivered so often is put to the queue's
#: end anew when it is given back: RabbitMQ 4 drops it after 20 deliveries.
RENEW_AFTER = 10

K = TypeVar("K")


@dataclass(frozen=True)
class QueueNumbers:
    """
    What the broker says of a queue.

    :ivar ready: how many messages nobody holds.
    :ivar consumers: how many read it.
    """

    ready: int
    consumers: int


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

    :param broker: a started broker.
    :param connector: the connector's name.
    :param clock: for the waits.
    :param look: asks the broker for the queue's numbers, without reading it.
    :param notice: told a sentence where somebody waits for another reader.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        look: Callable[[], Awaitable[QueueNumbers]],
        notice: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.connector = connector
        self.queue = f"{connector}.{FAILURES}"
        self._broker = broker
        self._clock = clock
        self._look = look
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
        waiting = await self._turn()
        most = min(limit or waiting, waiting, MOST)
        if not most:
            return 0, waiting
        found = await self._read(most, keep)
        taken = 0
        try:
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
        finally:
            await self._give_back(found)
        await self._until_given_back(waiting - taken)
        return len(found), waiting

    async def _turn(self) -> int:
        """Wait until nobody else reads the queue and its number stands still; the number."""
        started = self._clock.seconds()
        last: Optional[QueueNumbers] = None
        while True:
            numbers = await self._look()
            elapsed = self._clock.seconds() - started
            if numbers.consumers == 0 and (numbers == last or elapsed > SETTLE_TIMEOUT):
                return numbers.ready
            if numbers.consumers and elapsed > TURN_TIMEOUT:
                raise QueueInUse(f"somebody else reads {self.queue}; try again later")
            if numbers.consumers and not (last and last.consumers):
                self._notice(f"somebody else reads {self.queue}; waiting")
            last = numbers
            await deferLater(self._clock, POLL)

    async def _read(self, most: int, keep: Callable[[Parked], Optional[K]]) -> list[_Held[K]]:
        """So many of the oldest, unsettled; fewer if the others don't come."""
        found: list[_Held[K]] = []
        last_seen = self._clock.seconds()

        async def take(delivery: Delivery) -> Outcome:
            nonlocal last_seen
            last_seen = self._clock.seconds()
            settled: Deferred[Outcome] = Deferred()
            parked = read_parked(delivery)
            found.append(_Held(parked.id, delivery, keep(parked), settled))
            if delivery.delivery_count < RENEW_AFTER:
                delivery.body = b""  # what is kept of 10,000 is small, what they say may not be
            del parked
            return await settled

        consumer = self._broker.consume(self.queue, take, prefetch=most)
        consumer.unpause()
        while len(found) < most and self._clock.seconds() - last_seen < QUIET:
            await deferLater(self._clock, LOOK)
            # Those of a connection that is gone come again on the next one.
            found = [each for each in found if not each.delivery.lost]
        consumer.pause()
        return found

    async def _give_back(self, found: list[_Held[K]]) -> None:
        """Settle what nobody has settled: it stays in the queue."""
        publisher = self._broker.publisher(self.queue)
        for held in found:
            if held.settled.called:
                continue
            outcome = Outcome.REQUEUE
            if held.delivery.delivery_count >= RENEW_AFTER and not held.delivery.lost:
                try:
                    await publisher.publish(held.delivery.body)
                    outcome = Outcome.ACK
                except BrokerError:
                    pass  # then it goes back as the others do
            held.settled.callback(outcome)

    async def _until_given_back(self, expected: int) -> None:
        """Wait until the queue has everything again, so that whoever comes next sees it."""
        started = self._clock.seconds()
        while self._clock.seconds() - started < GIVE_BACK_TIMEOUT:
            if (await self._look()).ready >= expected:
                return
            await deferLater(self._clock, POLL)

    async def replay(self, parked: Parked) -> None:
        """Publish the original to the queue it came from; returns once the broker has it."""
        await self._broker.publisher(f"{self.connector}.{parked.queue}").publish(body_of(parked.original))
