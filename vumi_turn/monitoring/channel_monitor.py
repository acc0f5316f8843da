"""One running channel, as those see it who look after it."""

from __future__ import annotations

from typing import Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import Broker
from ..caches import MessageCache
from ..delivery import DeliveryScheduler
from .health import ChannelHealth
from .recorder import DeliveryRecorder
from .views import ChannelSnapshot


class ChannelMonitor:
    """
    A :class:`~vumi_turn.monitoring.views.ChannelView`.

    :param connector: the channel's name.
    :param broker: where its queues are.
    :param scheduler: delivers its messages.
    :param cache: remembers them.
    :param recorder: counts them.
    :param health: knows whether it stops, and whether it stands by.
    :param clock: what the scheduler tells the time by.
    :param queues: how many messages are ready in each queue, as far as that is known.
    """

    def __init__(
        self,
        connector: str,
        *,
        broker: Broker,
        scheduler: DeliveryScheduler,
        cache: MessageCache,
        recorder: DeliveryRecorder,
        health: ChannelHealth,
        clock: IReactorTime,
        queues: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self.connector = connector
        self.broker = broker
        self._scheduler = scheduler
        self._cache = cache
        self._recorder = recorder
        self._health = health
        self._clock = clock
        self._queues = queues

    def snapshot(self) -> ChannelSnapshot:
        """How the channel is now."""
        scheduler = self._scheduler
        return ChannelSnapshot(
            self.connector,
            stopping=self._health.stopping,
            standby=self._health.standby,
            broker=self.broker.state.value,
            broker_reason=self.broker.reason,
            reconnects=self.broker.reconnects,
            away_for=self._since(scheduler.away_since),
            away_reason=scheduler.away_reason,
            next_try=self._until(scheduler.next_probe),
            misconfigured=scheduler.misconfigured,
            throttled_for=self._until(scheduler.throttled_until) or 0.0,
            held=scheduler.held,
            waiting=scheduler.waiting,
            in_flight=scheduler.in_flight,
            oldest=self._since(scheduler.oldest),
            unparked=scheduler.unparked,
            park_error=scheduler.park_error,
            cache_healthy=self._cache.healthy,
            rates=self._recorder.rates,
            queues=dict(self._queues()),
        )

    def _since(self, moment: Optional[float]) -> Optional[float]:
        return None if moment is None else max(self._clock.seconds() - moment, 0.0)

    def _until(self, moment: Optional[float]) -> Optional[float]:
        return None if moment is None else max(moment - self._clock.seconds(), 0.0)
