"""
One publish for each request of Turn's.

The life of a message is not that of the requests that ask for it: a client
that goes away, or a broker that takes too long, ends the waiting and not the
publishing. A request that is sent again while its message is being published
joins it.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..caches.requests import RequestStore, Step
from ..timing.named_log import named
from ..timing.read_first import ReadFirstTimeout
from ..timing.running import Running
from ..timing.shared_bound import Bound
from ..turn.errors import ApiError, BrokerUnavailableError, InternalError, RequestTimeoutError
from ..turn.handler import Client, OutboundHandler
from ..turn.payloads import OutboundRequest
from .answers import AnswerTracker

log = Logger()

NOT_CONFIRMED = "the message broker has not confirmed the message in time; try again later"
STOPPING = "the worker is stopping; try again later"
CLIENT_GONE = "the client has closed its side of the connection, and the same request was answered before"

#: Seconds that a client of a request which was answered before is given to show that it has gone.
PRESENCE_TIME = 0.1
#: Seconds between two questions whether another worker has published a message.
POLL_INTERVAL = 0.1
#: Seconds in which the last answers leave the connections' buffers when stopping.
WRITING_TIME = 0.1


#: What a flow builds and publishes; nothing else looks into it.
M = TypeVar("M")


class OutboundFlow(Protocol[M]):
    """What makes messages of requests, and puts them on the connector."""

    async def build_outbound(self, request: OutboundRequest, message_id: str) -> M:
        """
        The message that a request asks for, with a given id.

        :raises ApiError: there can be none, or not now.
        """

    async def is_published(self, message_id: str) -> bool:
        """
        Whether the broker is known to have a message, joined into another one
        say. Asked for requests that came before and were not answered.
        """

    async def joins(self, request: OutboundRequest) -> bool:
        """Whether a request's message is to join one that is held, so that it is taken while stopping."""

    async def publish_outbound(self, message: M) -> None:
        """
        Publish a message; returns once the broker has it.

        :raises Exception: one of the publisher's ``retryable`` where the broker has not taken it.
        """


class _Waiter:
    """
    One request that waits for its message.

    :param deadline: when it has to be answered.
    :ivar outcome: fires when the broker has the message; fails with an
        :exc:`ApiError`. Cancelling it touches nothing else.
    """

    __slots__ = ("client", "outcome", "_clock", "_deadline", "_timer")

    def __init__(self, clock: IReactorTime, client: Client, deadline: float) -> None:
        self.client = client
        self.outcome: Deferred[None] = Deferred()
        self._clock = clock
        self._deadline = deadline
        self._timer: Optional[ReadFirstTimeout] = None

    @property
    def bounded(self) -> bool:
        """Whether its time runs already."""
        return self._timer is not None

    def bound_building(self) -> None:
        """The request's own time runs."""
        self._bound(self._deadline - self._clock.seconds(), RequestTimeoutError)

    def bound_publishing(self, timeout: float) -> None:
        """From now on the broker's time runs too."""
        if timeout < self._deadline - self._clock.seconds():
            self._bound(timeout, lambda: BrokerUnavailableError(NOT_CONFIRMED))
        else:
            self.bound_building()

    def end(self, error: Optional[ApiError]) -> None:
        """Tell it the outcome, unless it has stopped waiting."""
        if self.outcome.called:
            return
        if error is None:
            self.outcome.callback(None)
        else:
            self.outcome.errback(error)

    def stop(self) -> None:
        """Leave no timer."""
        if self._timer is not None:
            self._timer.stop()

    def _bound(self, seconds: float, error: Callable[[], ApiError]) -> None:
        self.stop()
        self._timer = ReadFirstTimeout(self._clock, seconds, lambda: self.end(error()))


class _Publishing:
    """
    One message, from its first request until the broker has it or has not taken it.

    :ivar message_id: its id, once the store has said which.
    :ivar at_broker: whether it is the broker that is waited for.
    :ivar done: the broker has it, or has not taken it.
    """

    __slots__ = ("key", "message_id", "at_broker", "done", "waiters")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.message_id = ""
        self.at_broker = False
        self.done = False
        self.waiters: list[_Waiter] = []


class OutboundPublisher(OutboundHandler):
    """
    Takes Turn's requests.

    :param clock: measures the waits.
    :param flow: builds and publishes.
    :param retryable: what ``flow`` raises where the broker has not taken a message.
    :param store: knows which requests are repeats.
    :param new_id: makes message ids.
    :param request_timeout: seconds for which a request waits in all.
    :param publish_timeout: seconds for which it waits for the broker.
    """

    def __init__(
        self,
        clock: IReactorTime,
        flow: OutboundFlow[Any],
        retryable: tuple[type[Exception], ...],
        store: RequestStore,
        new_id: Callable[[], str],
        request_timeout: float,
        publish_timeout: float,
        connector: str = "",
        unanswered: Optional[Bound] = None,
    ) -> None:
        self._log = named(log, connector)
        self._clock = clock
        self._flow = flow
        self._retryable = retryable
        self._store = store
        self._new_id = new_id
        self._request_timeout = request_timeout
        self._publish_timeout = publish_timeout
        self._answers = AnswerTracker(clock, store.awaits_answer, unanswered)
        self._publishing: dict[bytes, _Publishing] = {}
        self._under_way = 0
        self._drained: list[Deferred[None]] = []
        self._stopping = False

    # -- for the webhook --------------------------------------------------------

    async def accept(self, request: OutboundRequest, key: bytes, client: Client) -> str:
        """See :meth:`OutboundHandler.accept`."""
        waiter = _Waiter(self._clock, client, self._clock.seconds() + self._request_timeout)
        publishing = self._publishing.get(key)
        if publishing is None:
            publishing = self._publishing[key] = _Publishing(key)
            publishing.waiters.append(waiter)
            Running(self._carry(publishing, request), _carried, _log_bug)
        else:
            publishing.waiters.append(waiter)
            if publishing.message_id:
                self._answers.client_waits(publishing.message_id)
        try:
            if not (waiter.bounded or publishing.done):
                if publishing.at_broker:
                    waiter.bound_publishing(self._publish_timeout)
                else:
                    waiter.bound_building()
            await waiter.outcome
        except BaseException:
            self._answers.client_left(publishing.message_id)
            raise
        finally:
            waiter.stop()
            publishing.waiters.remove(waiter)
        return publishing.message_id

    def answered(self, request: OutboundRequest, key: bytes, message_id: str, was_read: bool) -> None:
        """See :meth:`OutboundHandler.answered`."""
        if was_read:
            self._answers.written(message_id)
        else:
            self._answers.client_left(message_id)
        self._store.answered(key, message_id, request.to, was_read)

    def client_left(self, key: bytes, message_id: str) -> None:
        """See :meth:`OutboundHandler.client_left`."""
        self._answers.client_left(message_id)
        self._store.confirmed(key, message_id)

    def forget(self) -> None:
        """The channel has gone, or never came to be."""
        self._answers.leave()

    # -- for the channel --------------------------------------------------------

    async def written(self, message_id: str) -> None:
        """
        Wait until Turn knows a message's id: until our 200 with it has been
        written, and at most 5 s.
        """
        await self._answers.wait(message_id)

    def stop(self) -> None:
        """
        Take no new messages but those that join one which is held; what is
        under way goes on, and its repeats are answered: the next worker might
        take them for new messages.
        """
        self._stopping = True

    async def drain(self, timeout: float) -> None:
        """
        Wait until nothing is under way, and then a moment for the last answers
        to leave the connections' buffers.

        :param timeout: seconds to wait at most.
        """
        if self._under_way:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            timer = self._clock.callLater(timeout, drained.callback, None)
            await drained
            if timer.active():
                timer.cancel()
        await deferLater(self._clock, WRITING_TIME)

    # -- one message --------------------------------------------------------------

    async def _carry(self, publishing: _Publishing, request: OutboundRequest) -> None:
        """Publish a message unless it has been, and tell all who wait for it. Never fails."""
        self._under_way += 1
        error: Optional[ApiError] = None
        try:
            await self._publish_once(publishing, request)
        except ApiError as refusal:
            error = refusal
        except Exception:  # the boundary of a message
            error_id = self._new_id()
            self._log.failure("Making a message of a POST of Turn's failed ({error_id})", error_id=error_id)
            error = InternalError(error_id)
        publishing.done = True
        del self._publishing[publishing.key]
        for waiter in list(publishing.waiters):
            waiter.end(error)
        self._under_way -= 1
        if not self._under_way:
            drained, self._drained = self._drained, []
            for waiting in drained:
                if not waiting.called:
                    waiting.callback(None)

    async def _publish_once(self, publishing: _Publishing, request: OutboundRequest) -> None:
        key = publishing.key
        claim = await self._store.claim(key, self._new_id(), request.to)
        polls = int(self._publish_timeout / POLL_INTERVAL)
        while claim.step is Step.WAIT:
            if polls <= 0:
                raise BrokerUnavailableError(NOT_CONFIRMED)
            polls -= 1
            await deferLater(self._clock, POLL_INTERVAL)
            claim = await self._store.claim(key, self._new_id(), request.to)
        message_id = publishing.message_id = claim.message_id
        for _ in publishing.waiters:
            self._answers.client_waits(message_id)
        if claim.step is Step.ANSWER:
            return
        try:
            if not claim.is_new and await self._flow.is_published(message_id):
                self._store.confirmed(key, message_id, answer_follows=bool(publishing.waiters))
                return
            if self._stopping and not await self._flow.joins(request):
                raise BrokerUnavailableError(STOPPING)
            if claim.answered_before:
                await self._check_presence(publishing)
            message = await self._flow.build_outbound(request, message_id)
        except BaseException:
            # There is none under this id; but one that the broker has not
            # taken before may be there all the same, so its repeats keep the id.
            if claim.is_new:
                self._store.forget(key, message_id)
            else:
                self._store.refused(key, message_id)
            raise
        publishing.at_broker = True
        for waiter in publishing.waiters:
            waiter.bound_publishing(self._publish_timeout)
        try:
            await self._flow.publish_outbound(message)
        except self._retryable:
            self._store.refused(key, message_id)
            raise BrokerUnavailableError() from None
        except BaseException:
            self._store.refused(key, message_id)
            raise
        self._store.confirmed(key, message_id, answer_follows=bool(publishing.waiters))

    async def _check_presence(self, publishing: _Publishing) -> None:
        """
        The same body was answered 200 some time ago. A request whose bytes
        were late on the network looks like a new one, but its client has gone.
        """
        await deferLater(self._clock, PRESENCE_TIME)
        for _ in range(2):  # a busy reactor runs its timers before it looks at connections
            await deferLater(self._clock, 0)
        if not any(waiter.client.present for waiter in publishing.waiters):
            raise BrokerUnavailableError(CLIENT_GONE)


def _carried(_: None) -> None:
    """All who wait have been told."""


def _log_bug(failure: Failure) -> None:
    log.failure("Telling the outcome of a message failed", failure)
