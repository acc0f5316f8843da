"""
``twistd vumi_turn_simulator``: a simulated Turn on its own, for the
integration tests of any channel.
"""

from __future__ import annotations

import os

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.python import usage

from ...service.logs import LEVELS, LoggedService
from ...service.options import VumiOptions
from ...service.twistd_process import TwistdProcess, end_with_failure
from ...timing.clock import measure_monotonically
from ..listening import Listening, address, host_and_port, reachable, tell
from .api import simulator_app
from .rate_limit import RateLimit
from .simulator import TurnSimulator

#: What the terminal says.
WELCOME = """
  The simulated Turn is at {url}
  A channel's turn_api_url is {url}/v1/numbers/test; messages for people are POSTed to {webhook}
  GET /requests shows what came, PUT /faults sets how it behaves, POST /send sends. Control-C ends it.
"""


class SimulatorOptions(usage.Options):
    """
    Flags of ``vumi_turn_simulator``.

    :ivar where: host and port.
    """

    longdesc = (
        "Takes messages and statuses at /v1/numbers/<any>/messages and /statuses, and says what is wrong with "
        "a bad one. GET /requests shows all that came, PUT /faults sets how it behaves, POST /send makes it "
        "POST a signed message to the webhook."
    )
    optParameters = [
        ["http", None, "127.0.0.1:8020", "host:port to listen on"],
        ["webhook", None, "http://127.0.0.1:8080/messages", "The channel's URL for messages"],
        ["token", None, None, "The bearer token that a channel must send (environment: TURN_TOKEN)"],
        ["secret", None, None, "What messages are signed with (environment: TURN_HMAC_SECRET)"],
        ["limit", None, 60, "Calls allowed in 60 s; 0 is no limit"],
        ["log-level", None, "warn", "The lowest level that is logged: debug, info, warn, error"],
    ]

    parseArgs = VumiOptions.parseArgs

    def postOptions(self) -> None:
        """Check the flags."""
        self.where = host_and_port(self["http"], "--http")
        if not self["webhook"].startswith(("http://", "https://")):
            raise usage.UsageError("--webhook must be a URL, as http://127.0.0.1:8080/messages")
        limit = str(self["limit"])
        if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
            raise usage.UsageError(f"--limit must be a whole number, 0 or more, not {limit!r}")
        self["limit"] = int(limit)
        if self["log-level"] not in LEVELS:
            raise usage.UsageError(f"--log-level must be one of {', '.join(LEVELS)}, not {self['log-level']!r}")
        for name, variable in (("token", "TURN_TOKEN"), ("secret", "TURN_HMAC_SECRET")):
            self[name] = self[name] or os.environ.get(variable)
            if not self[name]:
                raise usage.UsageError(f"--{name} is required, or {variable} in the environment")


def makeService(options: SimulatorOptions) -> IService:
    """The simulated Turn that the flags ask for."""
    from twisted.internet import reactor

    from ..web import site_of
    from .webhook_client import WebhookClient

    measure_monotonically(reactor)
    webhook_client = WebhookClient(reactor)
    turn = TurnSimulator(
        reactor,
        token=options["token"],
        secret=options["secret"],
        webhook=options["webhook"],
        post=webhook_client.post,
        limit=RateLimit(reactor, options["limit"]) if options["limit"] else None,
        follow=True,
    )

    def stop() -> Deferred[None]:
        turn.stop()
        return webhook_client.close()

    where = f"http://{address(reachable(options.where[0]), options.where[1])}"
    service = Listening(
        reactor,
        "The simulated Turn",
        options.where,
        site_of(simulator_app(turn), reactor, options.where[0]),
        ready=lambda: tell(WELCOME.format(url=where, webhook=options["webhook"])),
        stopping=stop,
        fatal=lambda: end_with_failure(reactor, TwistdProcess(options.parent)),
    )
    return LoggedService(service, options.parent, "text", options["log-level"], reactor)


Options = SimulatorOptions
