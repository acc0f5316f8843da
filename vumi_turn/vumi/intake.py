"""
One consumed queue: turns the broker's deliveries into messages and gives them to handlers.
"""

from __future__ import annotations

from collections import deque
from types import CoroutineType
from typing import Any, Awaitable, Callable, NamedTuple, Optional, Sequence, Union

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Delivery, Outcome
from ..timing.timeouts import Timeouts
from .messages import MalformedMessage, TransportEvent, TransportUserMessage
from .middleware import Step, apply

log = Logger()

Message = Union[TransportUserMessage, TransportEvent]

#: Takes a message; what becomes of its delivery: ACK, if it says nothing.
MessageHandler = Callable[[Any], Union[Optional[Outcome], Awaitable[Optional[Outcome]]]]

#: Says what becomes of a delivery that is not a vumi message.
OnMalformed = Callable[[Delivery, MalformedMessage], Awaitable[Outcome]]

#: Says what becomes of a delivery on which a middleware or a handler failed.
OnError = Callable[[Delivery, Optional[Message], Failure], Awaitable[Outcome]]


#: Told of each message that is ignored, and why.
OnIgnored = Callable[[Any, str], Awaitable[None]]


class IgnoreMessage(Exception):
    """
    For middlewares and handlers to raise: nothing more is to be done with the
    message. It is acknowledged; the text says why, for those who debug.
    """


class NoHandler(Exception):
    """A message came for an endpoint that nobody has set a handler for."""


class _Stopped(Exception):
    """The worker is stopping: messages that wait for a middleware are requeued."""


class _Queued(NamedTuple):
    """A message that waits behind earlier ones with the same key for the middlewares."""

    delivery: Delivery
    message: Any
    handler: MessageHandler
    done: Deferred[Outcome]


class Intake:
    """
    One consumed queue: decodes deliveries, passes them through middlewares, and calls handlers.

    :param connector_name: the connector that it belongs to.
    :param kind: ``inbound``, ``event`` or ``outbound``.
    :param read: makes a message of a delivery's bytes.
    :param key_of: messages with the same key reach their handlers in queue
        order, and pass the middlewares one after another.
    :param steps: the middlewares' methods for them.
    :param clock: bounds the wait for middlewares.
    :param on_malformed: says what becomes of what is no message.
    :param on_error: says what becomes of a message on which a middleware or
        a handler has failed.
    :ivar handlers: by endpoint.
    :ivar default_handler: for the endpoints without one.
    :ivar on_ignored: told of what is ignored.
    """

    def __init__(
        self,
        connector_name: str,
        kind: str,
        read: Callable[[bytes, Delivery], Any],
        key_of: Callable[[Any], Any],
        *,
        steps: Sequence[Step],
        clock: IReactorTime,
        on_malformed: OnMalformed,
        on_error: OnError,
    ) -> None:
        self.handlers: dict[str, MessageHandler] = {}
        self.default_handler: Optional[MessageHandler] = None
        self.on_ignored: Optional[OnIgnored] = None
        self._connector_name = connector_name
        self._kind = kind
        self._read = read
        self._key_of = key_of
        self._steps = steps
        self._clock = clock
        self._on_malformed = on_malformed
        self._on_error = on_error
        self._timeouts = Timeouts(clock)
        self._by_key: dict[Any, deque[_Queued]] = {}
        self._stopped = False

    async def take(self, delivery: Delivery) -> Outcome:
        """What the broker calls for each delivery, in queue order."""
        try:
            message = self._read(delivery.body, delivery)
        except MalformedMessage as error:
            return await self._on_malformed(delivery, error)
        try:
            handler = self._handler_for(message)
            if self._steps:
                return await self._enqueue(delivery, message, handler)
            outcome = handler(message)
            if isinstance(outcome, (CoroutineType, Deferred)):
                outcome = await outcome
            return _outcome_of(outcome)
        except IgnoreMessage as reason:
            return await self._ignore(delivery, message, str(reason))
        except Exception:  # the boundary of one delivery
            return await self._on_error(delivery, message, Failure())

    async def _ignore(self, delivery: Delivery, message: Message, reason: str) -> Outcome:
        log.debug("A message from {queue} is ignored: {reason}", queue=delivery.queue, reason=reason)
        try:
            if self.on_ignored is not None:
                await self.on_ignored(message, reason)
        except Exception:  # the boundary of one delivery
            return await self._on_error(delivery, message, Failure())
        return Outcome.ACK

    def stop(self) -> None:
        """Requeue the messages that wait for a middleware, and all later ones."""
        self._stopped = True
        self._timeouts.end(_Stopped)

    def _handler_for(self, message: Message) -> MessageHandler:
        handler = self.handlers.get(message.endpoint_name, self.default_handler)
        if handler is None:
            raise NoHandler(
                f"{self._connector_name} has no {self._kind} handler for endpoint {message.endpoint_name!r}"
            )
        return handler

    def _enqueue(self, delivery: Delivery, message: Any, handler: MessageHandler) -> Deferred[Outcome]:
        queued = _Queued(delivery, message, handler, Deferred())
        key = self._key_of(message)
        waiting = self._by_key.get(key)
        if waiting is not None:
            waiting.append(queued)
        else:
            self._by_key[key] = deque([queued])
            ensureDeferred(self._drain(key)).addErrback(_broken)
        return queued.done

    async def _drain(self, key: Any) -> None:
        """Process one key's messages until none is left. A loop, because recursion would be too deep for many."""
        waiting = self._by_key[key]
        while waiting:
            queued = waiting.popleft()
            try:
                await self._process(queued)
            except _Stopped:
                queued.done.callback(Outcome.REQUEUE)
            except Exception:  # handed to the delivery, which has its own boundary
                queued.done.errback(Failure())
        del self._by_key[key]

    async def _process(self, queued: _Queued) -> None:
        """Pass the middlewares, then call the handler; return when it was called."""
        self._check_not_stopped(queued)
        message = await apply(self._steps, queued.message, self._connector_name, self._timeouts, self._clock)
        self._check_not_stopped(queued)
        if message.delivery is not queued.delivery:
            message = message.replace(delivery=queued.delivery)
        outcome = queued.handler(message)
        if isinstance(outcome, CoroutineType):
            outcome = ensureDeferred(outcome)
        if isinstance(outcome, Deferred):
            outcome.addCallback(_outcome_of).chainDeferred(queued.done)
        else:
            queued.done.callback(_outcome_of(outcome))

    def _check_not_stopped(self, queued: _Queued) -> None:
        if self._stopped or queued.delivery.lost:
            raise _Stopped()


def _broken(failure: Failure) -> None:
    log.failure("Processing the messages of one key failed; this is a bug", failure)


def _outcome_of(result: Any) -> Outcome:
    """What a handler gave back; whatever is no outcome means that it is done with the message."""
    return result if isinstance(result, Outcome) else Outcome.ACK
