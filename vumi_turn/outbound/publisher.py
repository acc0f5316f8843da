"""
The life of a message of Turn's, which is not that of the requests that ask for
it: a client that goes away, or a broker that takes too long, ends the waiting
and not the publishing.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ..http.errors import ApiError, TimeoutError_
from ..http.responses import internal_error
from ..turn.errors import BrokerUnavailableError
from ..turn.payloads import OutboundRequest
from ..vumi.messages import TransportUserMessage
from .idempotency import IdempotencyStore, Pending, Stage

log = Logger()

NOT_CONFIRMED = "the message broker has not confirmed the message in time; try again later"

#: Makes the message that a request asks for, with a given id.
Build = Callable[[OutboundRequest, str], Awaitable[TransportUserMessage]]
#: Returns when the broker has the message.
Publish = Callable[[TransportUserMessage], Awaitable[None]]


class OutboundPublisher:
    """
    Builds and publishes messages.

    :param build: may raise :exc:`ApiError`.
    :param publish: raises one of ``retryable`` where the broker has not taken
        the message.
    :param repeats: forgets what could not be built.
    :param request_timeout: seconds for which a request waits in all.
    :param publish_timeout: seconds for which it waits for the broker.
    """

    def __init__(
        self,
        clock: Any,
        build: Build,
        publish: Publish,
        retryable: tuple[type[Exception], ...],
        repeats: IdempotencyStore,
        request_timeout: float,
        publish_timeout: float,
    ) -> None:
        self._clock = clock
        self._build = build
        self._publish = publish
        self._retryable = retryable
        self._repeats = repeats
        self._request_timeout = request_timeout
        self._publish_timeout = publish_timeout

    def start(self, pending: Pending, outbound: Optional[OutboundRequest]) -> Deferred[None]:
        """
        Build a message and publish it, or publish it again.

        :param outbound: what to build; None where that has been done.
        :return: fires when that is over, and never fails. It is not to be cancelled.
        """
        return ensureDeferred(self._carry(pending, outbound))

    async def wait_for(self, pending: Pending) -> None:
        """
        Wait until a message that was started is confirmed, but not too long.
        A cancelled wait ends nothing but itself.

        :raises ApiError: it is not.
        """
        if pending.stage is Stage.CONFIRMED:
            return
        if pending.stage is Stage.REFUSED:
            assert pending.error is not None
            raise pending.error
        waiter = Waiter(self._clock, self._clock.seconds() + self._request_timeout)
        if pending.stage is Stage.PUBLISHING:
            waiter.publishing(self._publish_timeout)
        else:
            waiter.building()
        pending.waiters.append(waiter)
        try:
            await waiter.outcome
        finally:
            waiter.stop()
            pending.waiters.remove(waiter)

    async def _carry(self, pending: Pending, outbound: Optional[OutboundRequest]) -> None:
        error: Optional[ApiError] = None
        try:
            message = pending.message
            if message is None:
                assert outbound is not None
                message = pending.message = await self._build(outbound, pending.message_id)
            pending.stage = Stage.PUBLISHING
            for waiter in pending.waiters:
                waiter.publishing(self._publish_timeout)
            await self._publish(message)
        except ApiError as refusal:
            error = refusal
        except self._retryable:
            error = BrokerUnavailableError()
        except Exception:  # the boundary of a message
            error = internal_error("Making a message of a POST of Turn's failed")
        if error is None:
            pending.stage = Stage.CONFIRMED
            pending.message = None
        else:
            if pending.stage is Stage.BUILDING:
                # Else whether the broker has it may not be known: the id has to stay.
                self._repeats.forget(pending)
            pending.stage = Stage.REFUSED
        pending.error = error
        for waiter in list(pending.waiters):
            waiter.end(error)


class Waiter:
    """
    One request that waits for its message.

    :param deadline: when the whole request has to be answered.
    :ivar outcome: fires when the broker has the message; fails with an
        :exc:`ApiError`. Cancelling it touches nothing else.
    """

    def __init__(self, clock: Any, deadline: float) -> None:
        self.outcome: Deferred[None] = Deferred()
        self._clock = clock
        self._deadline = deadline
        self._timer: Optional[IDelayedCall] = None

    def building(self) -> None:
        """It is our own part of the work that is waited for."""
        self._wait(self._deadline - self._clock.seconds(), TimeoutError_)

    def publishing(self, timeout: float) -> None:
        """From now on it is the broker that is waited for."""
        if timeout < self._deadline - self._clock.seconds():
            self._wait(timeout, lambda: BrokerUnavailableError(NOT_CONFIRMED))
        else:
            self.building()

    def end(self, error: Optional[ApiError]) -> None:
        """It has come, or it has not."""
        if self.outcome.called:
            return
        if error is None:
            self.outcome.callback(None)
        else:
            self.outcome.errback(error)

    def stop(self) -> None:
        """Nothing is waited for any more."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _wait(self, seconds: float, error: Callable[[], ApiError]) -> None:
        self.stop()
        self._timer = self._clock.callLater(max(seconds, 0.0), lambda: self.end(error()))
