"""
One consumed queue: from the broker's deliveries to the handlers' messages.
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
    """The worker is stopping: what waits for a middleware goes back to the queue."""


class _Turn(NamedTuple):
    """A message in its person's line, waiting for the middlewares."""

    delivery: Delivery
    message: Any
    handler: MessageHandler
    done: Deferred[Outcome]


class Intake:
    """
    One consumed queue: decodes, leads through middlewares, calls handlers.

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
        self._waits = Timeouts(clock)
        self._lines: dict[Any, deque[_Turn]] = {}
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
                return await self._stand_in_line(delivery, message, handler)
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
        """Requeue what waits for a middleware, now and from now on."""
        self._stopped = True
        self._waits.end(_Stopped)

    def _handler_for(self, message: Message) -> MessageHandler:
        handler = self.handlers.get(message.endpoint_name, self.default_handler)
        if handler is None:
            raise NoHandler(
                f"{self._connector_name} has no {self._kind} handler for endpoint {message.endpoint_name!r}"
            )
        return handler

    def _stand_in_line(self, delivery: Delivery, message: Any, handler: MessageHandler) -> Deferred[Outcome]:
        turn = _Turn(delivery, message, handler, Deferred())
        key = self._key_of(message)
        line = self._lines.get(key)
        if line is not None:
            line.append(turn)
        else:
            self._lines[key] = deque([turn])
            ensureDeferred(self._walk(key)).addErrback(_broken)
        return turn.done

    async def _walk(self, key: Any) -> None:
        """Serve a line until it is empty; a loop, because lines can be long."""
        line = self._lines[key]
        while line:
            turn = line.popleft()
            try:
                await self._serve(turn)
            except _Stopped:
                turn.done.callback(Outcome.REQUEUE)
            except Exception:  # handed to the delivery, which has its own boundary
                turn.done.errback(Failure())
        del self._lines[key]

    async def _serve(self, turn: _Turn) -> None:
        """Middlewares, then the handler; returns when the handler was called."""
        self._check_is_ours(turn)
        message = await apply(self._steps, turn.message, self._connector_name, self._waits, self._clock)
        self._check_is_ours(turn)
        if message.delivery is not turn.delivery:
            message = message.replace(delivery=turn.delivery)
        outcome = turn.handler(message)
        if isinstance(outcome, CoroutineType):
            outcome = ensureDeferred(outcome)
        if isinstance(outcome, Deferred):
            outcome.addCallback(_outcome_of).chainDeferred(turn.done)
        else:
            turn.done.callback(_outcome_of(outcome))

    def _check_is_ours(self, turn: _Turn) -> None:
        if self._stopped or turn.delivery.lost:
            raise _Stopped()


def _broken(failure: Failure) -> None:
    log.failure("A line of messages broke; this is a bug", failure)


def _outcome_of(result: Any) -> Outcome:
    """What a handler gave back; whatever is no outcome means that it is done with the message."""
    return result if isinstance(result, Outcome) else Outcome.ACK
