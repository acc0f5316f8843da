"""The bounds that all channels of a process have together."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..timing.shared_bound import Bound
from .window import ProcessWindows


@dataclass(frozen=True)
class ProcessBounds:
    """
    What would multiply with the number of channels is bounded for the process,
    and shared out fairly. The caches' own bounds are in
    :class:`vumi_turn.caches.shared.ProcessCaches`, the traces' in
    :class:`vumi_turn.monitoring.trace.TraceStore`.

    :ivar identities: requests that Turn has accepted.
    :ivar unanswered: messages whose 200 Turn has not got.
    :ivar windows: by how much the queues' windows open.
    """

    identities: Bound = field(default_factory=Bound)
    unanswered: Bound = field(default_factory=Bound)
    windows: ProcessWindows = field(default_factory=ProcessWindows)
