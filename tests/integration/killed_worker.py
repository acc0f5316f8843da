"""
The worker, which ends itself with SIGKILL at a chosen instant of joining
messages, the first time that it gets there after it was told which. Only the
worker's process may import this: it changes classes of the package.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Callable

from twisted.internet import reactor

from tests.integration.kill_instants import ARMED_BY, KILL_AT
from vumi_turn.channel.outgoing import OutgoingMessages
from vumi_turn.channel.parts_queue import PartsQueue
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.conversation.joined_notes import JoinedNotes
from vumi_turn.outbound.publisher import OutboundPublisher
from vumi_turn.vumi.connectors import ReceiveInboundConnector

if "twisted.trial.runner" in sys.modules:
    raise ImportError("this changes classes of the package: only a worker's process may import it")

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


def _before(instant: str, owner: type, name: str, then: Callable[[], None] = die) -> None:
    original = getattr(owner, name)

    def begun(*args: Any, **kw: Any) -> Any:
        if _reached(instant):
            then()
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
_before("part written", PartsQueue, "put", die_soon)
_after("part confirmed", PartsQueue, "put")
_before("answered", OutboundPublisher, "answered")
_before("flush begun", OutgoingMessages, "publish_joined")
_while_flushing()
_before(_IN_FLUSH["flush written"], ReceiveInboundConnector, "publish_outbound", die_soon)
_after(_IN_FLUSH["flush confirmed"], ReceiveInboundConnector, "publish_outbound")
_after("noted", JoinedNotes, "published")
_after("acknowledging", JoinedNotes, "published", die_soon)

signal.signal(ARMED_BY, _arm)


class KilledTurnChannelsApi(TurnChannelsApi):
    """The same in all else."""
