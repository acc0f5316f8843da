"""Names the services that twistd can run; imports nothing of them."""

import gc
from typing import Any

from twisted.application.service import ServiceMaker

#: While a worker's modules are loaded, Python looks for circular garbage only
#: when there are so many more objects, not at its default of 700: nearly all of
#: them stay, and looking takes a tenth of the time of the start. The module's
#: makeService sets what suits a worker.
OBJECTS_WHILE_LOADING = 200_000


class WorkerMaker(ServiceMaker):
    """A maker whose module takes long to load."""

    @property
    def options(self) -> Any:
        gc.set_threshold(OBJECTS_WHILE_LOADING)
        return super().options


vumi_worker = WorkerMaker("vumi_worker", "vumi_turn.service.vumi_worker", "Start a vumi worker", "vumi_worker")
start_worker = WorkerMaker(
    "start_worker", "vumi_turn.service.vumi_worker", "Deprecated: use vumi_worker", "start_worker"
)
vumi_turn_sandbox = ServiceMaker(
    "vumi_turn_sandbox",
    "vumi_turn.sandbox.service",
    "Try vumi_turn in a browser, with a simulated phone network and a simulated Turn",
    "vumi_turn_sandbox",
)
vumi_turn_simulator = ServiceMaker(
    "vumi_turn_simulator",
    "vumi_turn.sandbox.turn_simulator.service",
    "A simulated Turn Channels API, for integration tests",
    "vumi_turn_simulator",
)
