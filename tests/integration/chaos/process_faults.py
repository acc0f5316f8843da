"""What is killed, stopped or frozen, and started again."""

from __future__ import annotations

import threading
import time
from typing import Sequence

from tests.integration.chaos.ledger import BROKER, WORKER, Death, Ledger
from tests.integration.chaos.plan import (
    FREEZE_AND_KILL,
    FREEZE_BROKER,
    KILL_BOTH,
    KILL_BROKER,
    STOP_WORKER,
    ProcessFault,
)
from tests.integration.process import PATIENCE
from tests.integration.rabbitmq import RabbitMQ
from tests.integration.worker import Worker


class FaultClock:
    """
    The time of a run, which passes only while messages can flow: how long a
    broker takes to start must not decide how much a run tries.

    :param seconds: with faults.
    """

    def __init__(self, seconds: float) -> None:
        self.flowing = threading.Event()
        self.flowing.set()
        self._left = seconds
        self._since = time.monotonic()
        self._lock = threading.Lock()

    @property
    def left(self) -> float:
        """Seconds with faults that are left."""
        with self._lock:
            now = time.monotonic()
            if self.flowing.is_set():
                self._left -= now - self._since
            self._since = now
            return self._left

    def stop(self) -> None:
        """Something is down."""
        assert self.left is not None
        self.flowing.clear()

    def go_on(self) -> None:
        """All is up again."""
        assert self.left is not None
        self.flowing.set()

    def wait(self, seconds: float) -> bool:
        """Let so many seconds of it pass; False when none is left."""
        end = self.left - seconds
        while self.left > max(end, 0):
            time.sleep(0.05)
        return self.left > 0


class ProcessFaults:
    """
    :param fault_clock: its time stands still while something is down.
    """

    def __init__(
        self,
        ledger: Ledger,
        node: RabbitMQ,
        worker: Worker,
        process_faults: Sequence[ProcessFault],
        fault_clock: FaultClock,
    ) -> None:
        self._ledger = ledger
        self._node = node
        self._worker = worker
        self._process_faults = process_faults
        self._fault_clock = fault_clock

    def run(self) -> None:
        """One after another; returns with everything running."""
        for fault in self._process_faults:
            if not self._fault_clock.wait(fault.pause):
                break
            self._ledger.count_fault(fault.name)
            self._fault_clock.stop()
            self._inject(fault)
            self._wait_until_healthy()
            self._fault_clock.go_on()

    def _wait_until_healthy(self) -> None:
        """Now and then a look: the machine has better things to do."""
        deadline = time.monotonic() + PATIENCE
        while self._worker.health() != 200:
            assert time.monotonic() < deadline, f"the worker is not well; its log:\n{self._worker.log[-5000:]}"
            time.sleep(0.2)

    def _inject(self, fault: ProcessFault) -> None:
        if fault.name == KILL_BROKER:
            self._broker(fault.down)
        elif fault.name == KILL_BOTH:
            self._both(fault.down)
        elif fault.name in (FREEZE_BROKER, FREEZE_AND_KILL):
            self._freeze(fault.down, fault.name == FREEZE_AND_KILL)
        else:
            self._worker_process("SIGTERM" if fault.name == STOP_WORKER else "SIGKILL", fault.down)

    def _freeze(self, down: float, and_kill: bool) -> None:
        """It takes what is sent to it, and says nothing."""
        began = time.monotonic()
        self._node.pause()
        time.sleep(0.5 + down)
        if not and_kill:
            self._node.resume()
            return
        death = self._kill_broker()
        death.began = began  # it has written nothing since
        self._start_broker(death)

    def _broker(self, down: float) -> None:
        death = self._kill_broker()
        time.sleep(down)
        self._start_broker(death)

    def _both(self, down: float) -> None:
        """The worker while there is no broker: what it knows, nobody else does."""
        death = self._kill_broker()
        time.sleep(down / 2)
        self._worker_process("SIGKILL", down / 2)
        self._start_broker(death)

    def _kill_broker(self) -> Death:
        began = time.monotonic()
        self._node.kill()
        death = Death(BROKER, "SIGKILL", began, time.monotonic())
        self._ledger.deaths.append(death)
        return death

    def _start_broker(self, death: Death) -> None:
        self._node.start()
        death.back = time.monotonic()

    def _worker_process(self, how: str, down: float) -> None:
        began = time.monotonic()
        if how == "SIGTERM":
            self._worker.stop()
        else:
            self._worker.kill()
        death = Death(WORKER, how, began, time.monotonic())
        self._ledger.deaths.append(death)
        time.sleep(down)
        self._worker.start(wait=False)
        death.back = time.monotonic()
