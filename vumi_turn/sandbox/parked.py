"""What the worker has parked: shown on the page, and replayed from there."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ..broker.interface import Broker, Delivery, Outcome
from ..failures.parked import Parked, read_parked
from ..failures.queue import FAILURES, body_of
from ..vumi.messages import format_vumi_date

#: How many are shown; the rest stays in the queue.
MAX_SHOWN = 200

#: All go back to the queue, and come again, this often, in seconds: RabbitMQ
#: closes a channel that holds a delivery for 30 minutes.
HOLD = 15 * 60.0


class ParkedMessages:
    """
    Holds what comes from a connector's failures queue, until it is replayed.

    :param broker: the worker's broker.
    :param connector: the connector's name.
    :param clock: for :data:`HOLD`.
    """

    def __init__(self, broker: Broker, connector: str, clock: IReactorTime) -> None:
        self._clock = clock
        self._held: list[tuple[Parked, Deferred[Outcome]]] = []
        self._consumer = broker.consume(f"{connector}.{FAILURES}", self._hold, MAX_SHOWN)
        self._publishers = {queue: broker.publisher(f"{connector}.{queue}") for queue in ("inbound", "event")}
        self._call: Optional[IDelayedCall] = None

    def __len__(self) -> int:
        return len(self._held)

    def start(self) -> None:
        """Take what is parked, and what will be."""
        self._consumer.unpause()
        self._call = self._clock.callLater(HOLD, self._again)

    def stop(self) -> None:
        """Put all of it back."""
        self._consumer.pause()
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._put_back()

    def lines(self) -> list[dict[str, Any]]:
        """What is parked as JSON, with what people wrote: nobody in the sandbox is real."""
        return [_line_of(parked) for parked, _ in self._held]

    async def replay(self, ids: Optional[list[str]] = None) -> int:
        """
        Put parked messages back into the queue that they came from. One that
        does not say where it came from stays.

        :param ids: which; None is all.
        :return: how many.
        :raises vumi_turn.broker.interface.BrokerError: the broker has not taken one; it is still parked.
        """
        replayed = 0
        for item in list(self._held):
            parked, settled = item
            if (ids is not None and parked.id not in ids) or parked.queue is None:
                continue
            await self._publishers[parked.queue].publish(body_of(parked.original))
            replayed += 1
            if item in self._held:  # else it was lost meanwhile, and will come again
                self._held.remove(item)
                settled.callback(Outcome.ACK)
        return replayed

    def drop(self, ids: Optional[list[str]] = None) -> int:
        """
        Take parked messages out of the queue, for good.

        :param ids: which; None is all.
        :return: how many.
        """
        chosen = [item for item in self._held if ids is None or item[0].id in ids]
        for item in chosen:
            self._held.remove(item)
            item[1].callback(Outcome.ACK)
        return len(chosen)

    async def _hold(self, delivery: Delivery) -> Outcome:
        item: tuple[Parked, Deferred[Outcome]] = (read_parked(delivery), Deferred())
        self._held.append(item)
        delivery.on_lost(lambda: self._lost(item))
        return await item[1]

    def _lost(self, item: tuple[Parked, Deferred[Outcome]]) -> None:
        if item in self._held:
            self._held.remove(item)
            item[1].callback(Outcome.REQUEUE)

    def _again(self) -> None:
        self._call = self._clock.callLater(HOLD, self._again)
        self._put_back()

    def _put_back(self) -> None:
        held, self._held = self._held, []
        for _, settled in held:
            settled.callback(Outcome.REQUEUE)


def _line_of(parked: Parked) -> dict[str, Any]:
    original = parked.original if isinstance(parked.original, dict) else {}
    event = parked.queue == "event"
    return {
        "id": parked.id,
        "queue": parked.queue,
        "code": parked.code,
        "reason": parked.reason,
        "when": None if parked.when is None else format_vumi_date(parked.when),
        "message_id": original.get("user_message_id" if event else "message_id"),
        "number": None if event else original.get("from_addr"),
        "text": original.get("event_type") if event else original.get("content"),
    }
