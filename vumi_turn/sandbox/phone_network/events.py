"""What the phone network tells about messages to people, and what it does later."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Awaitable, Callable

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...broker.interface import BrokerError
from ...timing.clock import wall_clock_of
from ...timing.timeouts import Timeouts
from ...vumi.connectors import ReceiveOutboundConnector
from ...vumi.messages import TransportEvent, TransportUserMessage, generate_id

log = Logger()

#: Seconds between an ack and the delivery report of an SMS.
REPORT_DELAY = 1.0

#: Seconds between two tries to hand an event to the broker.
EVENT_RETRY = 1.0


class EventPublisher:
    """
    Hands events to the broker, and tries again while it is away.

    :param connector: where events go.
    :param clock: for timestamps, delays and tries.
    """

    def __init__(self, connector: ReceiveOutboundConnector, clock: IReactorTime) -> None:
        self._connector = connector
        self._wall = wall_clock_of(clock)
        self._waits = Timeouts(clock)
        self._stopped = False
        self._resets = 0

    def forget(self) -> None:
        """What was to come later comes no more."""
        self._resets += 1

    def stop(self) -> None:
        """Forget what was to come later."""
        self._stopped = True
        self._waits.end(lambda: BrokerError("the network is stopping"))

    def now(self) -> datetime:
        """The clock's time."""
        return datetime.fromtimestamp(self._wall(), timezone.utc)

    def ack(self, message: TransportUserMessage) -> None:
        """The network has taken a message."""
        self._event(message, "ack", sent_message_id="provider-" + generate_id()[:12])

    def nack(self, message: TransportUserMessage, reason: str) -> None:
        """The network does not take a message."""
        self._event(message, "nack", nack_reason=reason)

    def report(self, message: TransportUserMessage, status: str) -> None:
        """The delivery report of an SMS, after a while; USSD has none."""
        if message.transport_type != "ussd":
            self.later(REPORT_DELAY, lambda: self._event(message, "delivery_report", delivery_status=status))

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do something after so many seconds, unless the network has stopped then."""

        resets = self._resets

        async def wait() -> None:
            await self._waits.sleep(seconds)
            if not self._stopped and resets == self._resets:
                what()

        in_background(wait())

    def _event(self, message: TransportUserMessage, event_type: str, **fields: Any) -> None:
        event = TransportEvent(
            user_message_id=message.message_id, event_type=event_type, timestamp=self.now(), **fields
        )
        in_background(self._publish(event))

    async def _publish(self, event: TransportEvent) -> None:
        """A network keeps its events until somebody takes them."""
        resets = self._resets
        while not self._stopped and resets == self._resets:
            try:
                await self._connector.publish_event(event)
                return
            except BrokerError:
                await self._waits.sleep(EVENT_RETRY)


def in_background(awaitable: Awaitable[Any]) -> None:
    """Let something happen; a failure of it is logged."""
    done: Deferred[Any] = ensureDeferred(awaitable)  # type: ignore[arg-type]
    done.addErrback(_log_failure)


def _log_failure(failure: Failure) -> None:
    """A broker that is away is part of the faults; anything else is a bug."""
    if not failure.check(BrokerError):
        log.failure("The simulated network failed", failure)
