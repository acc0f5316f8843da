"""
The worker, which ends itself with SIGKILL at a chosen instant of joining
messages, the first time that it gets there.
"""

from __future__ import annotations

import os
import signal
from typing import Any, Callable

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from vumi_turn.channel.outgoing import OutgoingMessages
from vumi_turn.channel.parts_queue import PartsQueue
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.conversation.joining import Joiner
from vumi_turn.outbound.publisher import OutboundPublisher
from vumi_turn.vumi.connectors import ReceiveInboundConnector

#: The environment's variable with the instant; none where it is empty.
KILL_AT = "VUMI_TURN_KILL_AT"

#: What has happened when the worker is killed.
INSTANTS = {
    "part begun": "the cache has its mark, nothing is published",
    "part written": "the part is on its way to the broker",
    "part confirmed": "the broker has the part, Turn has no 200",
    "answered": "Turn has its 200, the part is held",
    "flush begun": "the joined id is noted, nothing is published",
    "flush written": "the joined message is on its way to the broker",
    "flush confirmed": "the broker has the joined message, nothing says so",
    "noted": "it is noted that it was published, no part is acknowledged",
    "acknowledging": "acknowledgements are on their way",
}


def die() -> None:
    """As by ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_soon() -> None:
    """When what is written has left."""
    reactor.callLater(0, lambda: reactor.callLater(0, die))


def _before(owner: type, name: str) -> None:
    _replace(owner, name, lambda original: lambda *args, **kw: die())


def _during(owner: type, name: str) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def begun(*args: Any, **kw: Any) -> Any:
            running = original(*args, **kw)
            if not isinstance(running, Deferred):
                running = Deferred.fromCoroutine(running)
            die_soon()
            return await running

        return begun

    _replace(owner, name, wrap)


def _after(owner: type, name: str, then: Callable[[], None] = die) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def done(*args: Any, **kw: Any) -> Any:
            result = await original(*args, **kw)
            then()
            return result

        return done

    _replace(owner, name, wrap)


def _while_flushing(change: Callable[[type, str], None]) -> None:
    """At the publish of a joined message, not of others."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        changed = False

        async def flush(*args: Any, **kw: Any) -> Any:
            nonlocal changed
            if not changed:
                changed = True
                change(ReceiveInboundConnector, "publish_outbound")
            return await original(*args, **kw)

        return flush

    _replace(OutgoingMessages, "publish_joined", wrap)


def _replace(owner: type, name: str, wrap: Callable[[Any], Any]) -> None:
    setattr(owner, name, wrap(getattr(owner, name)))


HOOKS: dict[str, Callable[[], None]] = {
    "part begun": lambda: _before(PartsQueue, "put"),
    "part written": lambda: _during(PartsQueue, "put"),
    "part confirmed": lambda: _after(PartsQueue, "put"),
    "answered": lambda: _before(OutboundPublisher, "answered"),
    "flush begun": lambda: _before(OutgoingMessages, "publish_joined"),
    "flush written": lambda: _while_flushing(_during),
    "flush confirmed": lambda: _while_flushing(_after),
    "noted": lambda: _after(Joiner, "_note_published"),
    "acknowledging": lambda: _after(Joiner, "_note_published", die_soon),
}

_instant = os.environ.get(KILL_AT, "")
if _instant:
    HOOKS[_instant]()


class KilledTurnChannelsApi(TurnChannelsApi):
    """The same in all else."""
