"""
For whoever tests an application or a middleware of their own: legacy vumi's
test helpers, on a broker in memory and a clock that the test moves.
"""

from .application import ApplicationHelper
from .case import Helper, VumiTestCase
from .dispatch import MessageDispatchHelper
from .messages import MessageHelper
from .worker import WorkerHelper, WorkerNotStarted

__all__ = [
    "ApplicationHelper",
    "Helper",
    "MessageDispatchHelper",
    "MessageHelper",
    "VumiTestCase",
    "WorkerHelper",
    "WorkerNotStarted",
]
