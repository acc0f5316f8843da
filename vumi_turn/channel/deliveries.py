"""
What the delivery policy carries: one consumed message or event, with how to
post it to Turn and how to park it.
"""

from __future__ import annotations

import hashlib
from typing import Any, Awaitable, Callable, Optional

from ..broker.interface import Delivery
from ..delivery import DeliveryRequest
from ..failures.dead_letter import DeadLetter
from ..failures.queue import FailureQueue
from ..turn.verdicts import MESSAGE, STATUS, TurnResponse

#: Posts to Turn; the two flows of :mod:`vumi_turn.channel.worker` make one for each message.
Post = Callable[[], Awaitable[TurnResponse]]

#: The queue that a kind of parcel comes from, without the connector's name.
QUEUE_OF_KIND = {MESSAGE: "inbound", STATUS: "event"}


def digest_of(body: bytes) -> bytes:
    """Tells bodies apart that carry the same id; not for secrets."""
    return hashlib.blake2b(body, digest_size=16).digest()


class QueueDelivery(DeliveryRequest):
    """
    A parcel that came from a queue.

    :param kind: :data:`~vumi_turn.delivery.MESSAGE` or :data:`~vumi_turn.delivery.STATUS`.
    :param delivery: what the broker gave.
    :param failures: where it is parked.
    :param name: an id for log lines.
    :param key: parcels with the same key are sent one after another.
    :param identity: recognises a redelivered parcel that was already sent.
    :param prepare: what has to be done before the first try, or None.
    :param post: sends it once.
    :param expires: Unix seconds after which it is of no use, or None.
    """

    def __init__(
        self,
        kind: str,
        delivery: Delivery,
        failures: FailureQueue,
        *,
        name: str,
        key: str,
        identity: Any,
        prepare: Optional[Callable[[], Awaitable[None]]] = None,
        post: Optional[Post] = None,
        expires: Optional[float] = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.key = key
        self.identity = identity
        self.redelivered = delivery.redelivered
        self.delivery_count = delivery.delivery_count
        self.received = delivery.received
        self.expires = expires
        self._delivery = delivery
        self._failures = failures
        self._prepare = prepare
        self._post = post

    @property
    def lost(self) -> bool:
        return self._delivery.lost

    def on_lost(self, callback: Callable[[], None]) -> None:
        self._delivery.on_lost(callback)

    async def prepare(self) -> None:
        if self._prepare is not None:
            await self._prepare()
            self._prepare = None  # it may be tried before its turn, and then again

    async def post(self) -> TurnResponse:
        assert self._post is not None, "a parcel that can only be parked was posted"
        return await self._post()

    async def park(self, parking: DeadLetter) -> None:
        await self._failures.park(self._delivery.body, QUEUE_OF_KIND[self.kind], parking)
