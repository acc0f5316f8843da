"""
For whoever tests an application, a middleware or a channel of their own:
legacy vumi's test helpers, on a broker in memory and a clock that the test
moves, and a Turn that is simulated on the same clock.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .application import ApplicationHelper
from .case import Helper, VumiTestCase
from .dispatch import MessageDispatchHelper
from .messages import MessageHelper
from .worker import WorkerHelper, WorkerNotStarted

__all__ = [
    "ApplicationHelper",
    "ChannelHelper",
    "Helper",
    "MessageDispatchHelper",
    "MessageHelper",
    "TurnFaults",
    "TurnSimulator",
    "VumiTestCase",
    "WorkerHelper",
    "WorkerNotStarted",
]

#: Loaded when they are asked for: tests of applications need no HTTP.
_LAZY = {
    "ChannelHelper": "vumi_turn.testing.channel",
    "TurnFaults": "vumi_turn.sandbox.turn_simulator.faults",
    "TurnSimulator": "vumi_turn.sandbox.turn_simulator.simulator",
}

if TYPE_CHECKING:
    from ..sandbox.turn_simulator.faults import TurnFaults
    from ..sandbox.turn_simulator.simulator import TurnSimulator
    from .channel import ChannelHelper


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
