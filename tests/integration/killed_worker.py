"""
The worker, which ends itself with SIGKILL at a chosen instant of joining
messages, the first time that it gets there after it was told which.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, Callable

from twisted.internet import reactor

from vumi_turn.channel.outgoing import OutgoingMessages
from vumi_turn.channel.parts_queue import PartsQueue
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.conversation.joined_notes import JoinedNotes
from vumi_turn.outbound.publisher import OutboundPublisher
from vumi_turn.vumi.connectors import ReceiveInboundConnector

#: A file with the instant, where the worker runs: it is read, and removed, at this signal.
KILL_AT = Path("kill_at")
ARMED_BY = signal.SIGUSR2

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

#: The instants that are reached in the publish of a joined message, not of others.
_IN_FLUSH = {"flush written": "joined message written", "flush confirmed": "joined message confirmed"}

_armed = ""


def die() -> None:
    """As by ``kill -9``."""
    os.kill(os.getpid(), signal.SIGKILL)


def die_soon() -> None:
    """When what is written has left."""
    reactor.callLater(0, lambda: reactor.callLater(0, die))


def _arm(*_: Any) -> None:
    global _armed
    _armed = KILL_AT.read_text()
    KILL_AT.unlink()


def _reached(instant: str) -> bool:
    """Whether it is the one that was chosen, for the first time."""
    global _armed
    if _armed != instant:
        return False
    _armed = ""
    return True


def _before(instant: str, owner: type, name: str) -> None:
    original = getattr(owner, name)

    def begun(*args: Any, **kw: Any) -> Any:
        if _reached(instant):
            die()
        return original(*args, **kw)

    setattr(owner, name, begun)


def _during(instant: str, owner: type, name: str) -> None:
    original = getattr(owner, name)

    def begun(*args: Any, **kw: Any) -> Any:
        if _reached(instant):
            die_soon()
        return original(*args, **kw)

    setattr(owner, name, begun)


def _after(instant: str, owner: type, name: str, then: Callable[[], None] = die) -> None:
    original = getattr(owner, name)

    async def done(*args: Any, **kw: Any) -> Any:
        result = await original(*args, **kw)
        if _reached(instant):
            then()
        return result

    setattr(owner, name, done)


def _while_flushing() -> None:
    original = OutgoingMessages.publish_joined

    async def flush(*args: Any, **kw: Any) -> Any:
        global _armed
        _armed = _IN_FLUSH.get(_armed, _armed)
        return await original(*args, **kw)

    OutgoingMessages.publish_joined = flush  # type: ignore[method-assign]


_before("part begun", PartsQueue, "put")
_during("part written", PartsQueue, "put")
_after("part confirmed", PartsQueue, "put")
_before("answered", OutboundPublisher, "answered")
_before("flush begun", OutgoingMessages, "publish_joined")
_while_flushing()
_during(_IN_FLUSH["flush written"], ReceiveInboundConnector, "publish_outbound")
_after(_IN_FLUSH["flush confirmed"], ReceiveInboundConnector, "publish_outbound")
_after("noted", JoinedNotes, "published")
_after("acknowledging", JoinedNotes, "published", die_soon)

signal.signal(ARMED_BY, _arm)


class KilledTurnChannelsApi(TurnChannelsApi):
    """The same in all else."""
