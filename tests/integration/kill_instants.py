"""The instants at which a worker can be told to end itself, and how it is told."""

from __future__ import annotations

import signal
from pathlib import Path

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
