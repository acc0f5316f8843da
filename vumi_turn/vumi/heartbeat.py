"""
Heartbeats: a worker tells vumi's monitor that it lives.

The message and where it goes are legacy vumi's
(vumi/blinkenlights/heartbeat/publisher.py).
"""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..broker.interface import Broker, BrokerState
from ..timing.clock import wall_clock_of

log = Logger()

HEALTH_EXCHANGE = "vumi.health"
HEARTBEAT_ROUTING_KEY = "heartbeat.inbound"
HEARTBEAT_VERSION = "20130319"

#: Seconds from one heartbeat to the next.
HEARTBEAT_PERIOD = 10.0


class Heartbeat:
    """
    Publishes a worker's heartbeats while the broker is there.

    :param broker: the worker's broker.
    :param clock: says when, and what time it is.
    :param system_id: the name of the system that the worker belongs to.
    :param worker_name: the worker's name, its own within the system.
    :param hostname: the machine.
    :param pid: the process.
    :param more: attributes that the worker adds, asked for at each heartbeat.
    """

    def __init__(
        self,
        broker: Broker,
        clock: IReactorTime,
        *,
        system_id: str,
        worker_name: str,
        hostname: str,
        pid: int,
        more: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._attributes = {
            "version": HEARTBEAT_VERSION,
            "system_id": system_id,
            "worker_id": f"{system_id}:{worker_name}",
            "worker_name": worker_name,
            "hostname": hostname,
            "pid": pid,
        }
        self._more = more
        self._publisher = broker.transient_publisher(HEALTH_EXCHANGE, HEARTBEAT_ROUTING_KEY)
        self._loop: Optional[LoopingCall] = None

    def start(self) -> None:
        """Publish a heartbeat every :data:`HEARTBEAT_PERIOD` from now on."""
        loop = LoopingCall(self._publish)
        loop.clock = self._clock
        loop.start(HEARTBEAT_PERIOD, now=False).addErrback(_stopped_by)
        self._loop = loop

    def stop(self) -> None:
        """Publish no more heartbeats."""
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()

    def _publish(self) -> None:
        if self._broker.state is not BrokerState.CONNECTED:
            return
        try:
            attributes = {**self._attributes, "timestamp": self._wall(), **self._more()}
            body = json.dumps(attributes).encode("ascii")
        except Exception:  # the worker's own attributes; the next heartbeat may be right
            log.failure("A heartbeat could not be written")
            return
        # The next heartbeat does not wait for this one: a late one says nothing.
        self._publisher.publish(body).addErrback(_missed)


def _missed(failure: Failure) -> None:
    log.debug("A heartbeat was not published: {reason}", reason=failure.getErrorMessage())


def _stopped_by(failure: Failure) -> None:
    log.failure("The heartbeats have stopped", failure)
