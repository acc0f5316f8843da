"""Names the services that twistd can run; imports nothing of them."""

from twisted.application.service import ServiceMaker

vumi_worker = ServiceMaker("vumi_worker", "vumi_turn.service.vumi_worker", "Start a vumi worker", "vumi_worker")
start_worker = ServiceMaker(
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
