"""
A process that imports the libraries which any such worker stands on, and then
waits: what a worker's memory and start are compared with.
"""

from __future__ import annotations

import time

import confmodel  # noqa: F401
import klein  # noqa: F401
import prometheus_client  # noqa: F401
import treq  # noqa: F401
import txamqp.client  # noqa: F401
import yaml  # noqa: F401
from twisted.internet import reactor  # noqa: F401

print("imported", flush=True)
time.sleep(600)
