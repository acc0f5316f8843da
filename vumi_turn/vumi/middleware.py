"""
Middleware: what sees each message on its way into and out of a worker.

The configuration and the method names are legacy vumi's
(vumi/middleware/base.py), with two differences. Messages are frozen: a method
returns another one (``message.replace(...)``) instead of changing the one it
was given. And a method may be ``async def``, beside giving back a value or a
Deferred.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, NamedTuple, Sequence, TypeVar

from twisted.internet.interfaces import IReactorTime

from ..configuration.fields import Config, ConfigInt
from ..timing.timeouts import Timeouts, deferred_of

#: Seconds that all the middlewares together may take for one message.
MIDDLEWARE_TIMEOUT = 60.0

M = TypeVar("M")


class MiddlewareError(Exception):
    """A middleware did not give back a message; the text names it."""


class BaseMiddlewareConfig(Config):
    """
    What every middleware can be configured with.
    """

    consume_priority = ConfigInt(
        "Where it stands among the middlewares for messages that are consumed: lower ones come"
        " first, and equal ones in the order of the list.",
        default=0,
        static=True,
    )
    publish_priority = ConfigInt(
        "Where it stands among the middlewares for messages that are published: lower ones come"
        " first, and equal ones in the reverse order of the list.",
        default=0,
        static=True,
    )


class BaseMiddleware:
    """
    What a middleware derives from. Each method does nothing as it is.

    :param name: the middleware's name in the configuration.
    :param config: the options under that name.
    :param worker: whose messages it sees.
    """

    CONFIG_CLASS: type[Config] = BaseMiddlewareConfig

    def __init__(self, name: str, config: dict[str, Any], worker: Any) -> None:
        self.name = name
        self.config: Any = self.CONFIG_CLASS(config, static=True)
        self.consume_priority = int(config.get("consume_priority") or 0)
        self.publish_priority = int(config.get("publish_priority") or 0)
        self.worker = worker

    def setup_middleware(self) -> Any:
        """Get ready; the first message comes when this is done."""

    def teardown_middleware(self) -> Any:
        """Undo what :meth:`setup_middleware` did; no message comes any more."""

    def handle_consume_inbound(self, message: Any, connector_name: str) -> Any:
        """
        See a person's message that was consumed. The other methods are the
        same for other kinds of messages and for the other direction.

        :param message: a :class:`~vumi_turn.vumi.messages.user_message.TransportUserMessage`;
            :class:`~vumi_turn.vumi.messages.user_message.TransportEvent` in the methods for
            events.
        :param connector_name: the connector that it came by, or goes by.
        :return: the message that goes on; never None. An exception hands the
            message to the worker's ``failed`` method.
        """
        return self.handle_inbound(message, connector_name)

    def handle_publish_inbound(self, message: Any, connector_name: str) -> Any:
        """See a person's message that is about to be published (by a transport)."""
        return self.handle_inbound(message, connector_name)

    def handle_inbound(self, message: Any, connector_name: str) -> Any:
        """See a person's message, whichever way."""
        return message

    def handle_consume_outbound(self, message: Any, connector_name: str) -> Any:
        """See a message to a person that was consumed (by a transport)."""
        return self.handle_outbound(message, connector_name)

    def handle_publish_outbound(self, message: Any, connector_name: str) -> Any:
        """See a message to a person that is about to be published."""
        return self.handle_outbound(message, connector_name)

    def handle_outbound(self, message: Any, connector_name: str) -> Any:
        """See a message to a person, whichever way."""
        return message

    def handle_consume_event(self, event: Any, connector_name: str) -> Any:
        """See an event that was consumed."""
        return self.handle_event(event, connector_name)

    def handle_publish_event(self, event: Any, connector_name: str) -> Any:
        """See an event that is about to be published (by a transport)."""
        return self.handle_event(event, connector_name)

    def handle_event(self, event: Any, connector_name: str) -> Any:
        """See an event, whichever way."""
        return event

    def handle_consume_failure(self, failure: Any, connector_name: str) -> Any:
        """See a failure message that was consumed."""
        return self.handle_failure(failure, connector_name)

    def handle_publish_failure(self, failure: Any, connector_name: str) -> Any:
        """See a failure message that is about to be published."""
        return self.handle_failure(failure, connector_name)

    def handle_failure(self, failure: Any, connector_name: str) -> Any:
        """See a failure message, whichever way."""
        return failure


#: Legacy vumi's names for middlewares of transports and of applications.
TransportMiddleware = BaseMiddleware
ApplicationMiddleware = BaseMiddleware


class Step(NamedTuple):
    """One method of one middleware."""

    title: str
    method: Callable[[Any, str], Any]


KINDS = ("inbound", "outbound", "event", "failure")


class MiddlewareStack:
    """
    Middlewares in the order in which they see messages: consumed ones in the
    order of the list, published ones in the reverse; priorities come before.

    :param middlewares: those that were configured, set up.
    """

    def __init__(self, middlewares: Sequence[BaseMiddleware] = ()) -> None:
        consuming = sorted(middlewares, key=lambda one: one.consume_priority)
        publishing = sorted(reversed(middlewares), key=lambda one: one.publish_priority)
        self._steps = {
            (direction, kind): tuple(_steps(those, f"handle_{direction}_{kind}", f"handle_{kind}"))
            for direction, those in (("consume", consuming), ("publish", publishing))
            for kind in KINDS
        }

    def steps(self, direction: str, kind: str) -> tuple[Step, ...]:
        """
        The methods that a message passes; none where no middleware looks at
        such messages.

        :param direction: ``consume`` or ``publish``.
        :param kind: one of :data:`KINDS`.
        """
        return self._steps[direction, kind]


def _steps(middlewares: Iterable[BaseMiddleware], name: str, older_name: str) -> Iterable[Step]:
    """The methods with something in them: those that only BaseMiddleware has are left out."""
    for middleware in middlewares:
        method = getattr(middleware, name)
        if _is_inherited(middleware, name) and _is_inherited(middleware, older_name):
            continue
        yield Step(f"{type(middleware).__name__}.{name} ({middleware.name})", method)


def _is_inherited(middleware: Any, name: str) -> bool:
    function = getattr(getattr(middleware, name, None), "__func__", None)
    return function is not None and function is getattr(BaseMiddleware, name)


async def apply(steps: Sequence[Step], message: M, connector_name: str, waits: Timeouts, clock: IReactorTime) -> M:
    """
    Lead a message through middlewares.

    :param steps: the methods, in order.
    :param message: a message or an event.
    :param connector_name: the connector's name, for them.
    :param waits: bound the wait for each.
    :param clock: what :data:`MIDDLEWARE_TIMEOUT` is measured by.
    :return: what the last one gave back.
    :raises MiddlewareError: one took too long, or gave back something else
        than a message; its own exceptions come through.
    """
    deadline = clock.seconds() + MIDDLEWARE_TIMEOUT
    for step in steps:
        result = step.method(message, connector_name)
        pending = deferred_of(result)
        if pending is not None:
            late = MiddlewareError(f"{step.title} kept a message longer than {MIDDLEWARE_TIMEOUT:g} s")
            result = await waits.bound(pending, deadline - clock.seconds(), lambda late=late: late)  # type: ignore[misc]
        if not isinstance(result, type(message)):
            raise MiddlewareError(f"{step.title} must return a {type(message).__name__}, not {_described(result)}")
        message = result
    return message


def _described(result: Any) -> str:
    return "None" if result is None else f"a {type(result).__name__}"
