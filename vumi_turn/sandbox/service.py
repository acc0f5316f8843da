"""``twistd vumi_turn_sandbox``: its options and its service."""

from __future__ import annotations

import os
import sys
import webbrowser
from typing import Any

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python import usage

from ..configuration.fields import ConfigErrors
from ..configuration.files import SettingsError, load_yaml
from ..service.broker_options import broker_from_options
from ..service.logs import LEVELS, LoggedService
from ..service.options import VumiOptions
from ..service.twistd_process import TwistdProcess, end_with_failure
from ..service.worker_class import find_worker_class, warn_of_unknown_keys
from ..timing.clock import measure_monotonically
from .listening import Listening, address, host_and_port, reachable, tell
from .phone_network.phones import USSD_CODE

log = Logger()

#: The simulated channel, below the page's address.
TURN_PATH = "/turn/v1/numbers/sandbox"

#: The AMQP flags; one of them set means a real broker.
AMQP_FLAGS = ("hostname", "port", "username", "password", "vhost", "amqp-url", "vumi-config")


#: What the terminal says: nothing else is needed to begin.
WELCOME = """
  The sandbox is at {url}
  Open it in a browser, and press Call on the phone: it dials {code}. Then answer 1.

  Scripts drive it by {url}api/state and the other paths in docs/simulate.rst.
  Control-C ends it.
"""


class SandboxOptions(VumiOptions):
    """
    Flags of ``vumi_turn_sandbox``.

    :ivar real_broker: whether an AMQP flag was given.
    :ivar page: host and port of the page.
    :ivar worker: host and port of the worker's webhook.
    :ivar config: the worker's options.
    """

    longdesc = (
        "Shows vumi_turn at work in a browser, between a simulated phone network and a simulated Turn. "
        "With --hostname, or another AMQP flag, it uses a real RabbitMQ; with --turn-url the real Turn."
    )
    optFlags = [
        ["open", None, "Open the page in a browser"],
        ["no-phones", None, "No simulated phones: a real transport is on the connector"],
    ]
    optParameters = [
        ["http", None, "127.0.0.1:8010", "host:port of the page"],
        ["worker-http", None, "127.0.0.1:8011", "host:port of the worker's webhook"],
        ["worker-class", None, "vumi_turn.TurnChannelsApi", "Your own channel's, or your application's, class"],
        ["worker-config", None, None, "Its YAML config, to try its options and middlewares"],
        ["config", None, None, "The same as --worker-config"],
        ["turn-url", None, None, "turn_api_url of a real Turn channel, instead of the simulated one"],
        ["auth-token", None, None, "The real channel's token (environment: TURN_TOKEN)"],
        ["secret", None, None, "The real channel's HMAC secret (environment: TURN_HMAC_SECRET)"],
        ["log-level", None, "warn", "The lowest level that is logged: debug, info, warn, error"],
    ]

    def postOptions(self) -> None:
        """Check the flags, and read the config."""
        self.real_broker = any(self[flag] is not None for flag in AMQP_FLAGS)
        if self.real_broker and self["password"] is None:
            self["password"] = os.environ.get("AMQP_PASSWORD") or None
        super().postOptions()
        if self["no-phones"] and not self.real_broker:
            raise usage.UsageError("--no-phones needs a real RabbitMQ, with a transport on it: --hostname")
        self.page = host_and_port(self["http"], "--http")
        self.worker = host_and_port(self["worker-http"], "--worker-http")
        try:
            path = self["worker-config"] or self["config"]
            self.config = dict(load_yaml(path)) if path else {}
        except SettingsError as error:
            raise usage.UsageError(str(error)) from None
        if self["log-level"] not in LEVELS:
            raise usage.UsageError(f"--log-level must be one of {', '.join(LEVELS)}, not {self['log-level']!r}")
        self._real_turn()

    def _real_turn(self) -> None:
        given = {
            "auth_token": self["auth-token"] or os.environ.get("TURN_TOKEN"),
            "turn_hmac_secret": self["secret"] or os.environ.get("TURN_HMAC_SECRET"),
        }
        if not self["turn-url"]:
            if self["auth-token"] or self["secret"]:
                raise usage.UsageError("--auth-token and --secret are the real Turn's: --turn-url is missing")
            return
        self.config.update({name: value for name, value in given.items() if value})
        if not all(self.config.get(name) for name in given):
            raise usage.UsageError(
                "--turn-url needs --auth-token and --secret (or TURN_TOKEN and TURN_HMAC_SECRET in the environment, "
                "or auth_token and turn_hmac_secret in the config)"
            )


def makeService(options: SandboxOptions) -> IService:
    """
    The sandbox that the flags ask for.

    A wrong configuration ends the process with status 1 and a line for each
    wrong option.
    """
    from twisted.internet import reactor

    from .page.server import SandboxServer
    from .simulation import Simulation
    from .web import site_of

    measure_monotonically(reactor)
    # A class of one's own is found where the sandbox is started, as with "python -m"; twistd does not look there.
    sys.path.insert(0, os.getcwd())
    worker_class = find_worker_class(options["worker-class"])
    host, port = options.page
    url = f"http://{address(reachable(host), port)}/"
    try:
        simulation = Simulation(
            reactor,
            config=options.config,
            worker_bind=address(*options.worker),
            turn_url=options["turn-url"] or url.rstrip("/") + TURN_PATH,
            worker_class=worker_class,
            simulate=not options["turn-url"],
            broker=broker_from_options(options.vumi_options, reactor) if options.real_broker else None,
            phones=not options["no-phones"],
            ready=lambda: _welcome(reactor, url, options["open"]),
            fatal=lambda: _worker_failed(reactor, options),
        )
    except (ConfigErrors, ValueError) as error:
        for line in getattr(error, "errors", [str(error)]):
            print(f"vumi_turn_sandbox: {line}", file=sys.stderr)
        raise SystemExit(1) from None
    warn_of_unknown_keys(worker_class, options.config)
    server = SandboxServer(simulation, reactor)
    service = Listening(
        reactor,
        "The sandbox",
        options.page,
        site_of(server.app, reactor, host),
        inside=simulation,
        stopping=server.stop,
        fatal=lambda: end_with_failure(reactor, TwistdProcess(options.parent)),
    )
    return LoggedService(service, options.parent, "text", options["log-level"], reactor)


def _welcome(reactor: Any, url: str, show: bool) -> None:
    """Say where the page is, now that it works, and show it in the user's browser if that is wanted."""
    tell(WELCOME.format(url=url, code=USSD_CODE))
    if show:
        reactor.callInThread(webbrowser.open, url)


def _worker_failed(reactor: Any, options: SandboxOptions) -> None:
    """The worker has logged why; say what is the sandbox's part in it."""
    log.critical(
        "The sandbox's worker listens at {where}; --worker-http names another place",
        where=options["worker-http"],
    )
    end_with_failure(reactor, TwistdProcess(options.parent))


Options = SandboxOptions
