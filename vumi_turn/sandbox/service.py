"""
``twistd vumi_turn_sandbox`` and ``twistd vumi_turn_simulator``: their options and services.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from typing import Any, Optional
from urllib.parse import urlsplit

from klein import Klein
from twisted.application.service import IService, MultiService
from twisted.internet import endpoints
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger
from twisted.python import usage
from twisted.web.server import Site

from ..vumi.fields import ConfigErrors
from ..vumi.servicemaker import VumiOptions, broker_from_options
from ..vumi.settings import SettingsError, load_yaml

log = Logger()

#: Where the simulated Turn is, below the page's address.
TURN_PATH = "/turn/v1/numbers/sandbox"

#: The AMQP flags; one of them set means a real broker.
AMQP_FLAGS = ("hostname", "port", "username", "password", "vhost", "amqp-url", "vumi-config")


def host_and_port(text: str, flag: str) -> tuple[str, int]:
    """
    :raises usage.UsageError: ``text`` is not ``host:port``.
    """
    parts = urlsplit("//" + text)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None:
        raise usage.UsageError(f"{flag} must be host:port, as 127.0.0.1:8010, not {text!r}")
    return host, port


class SandboxOptions(VumiOptions):
    """Try vumi_turn: phones, worker and Turn on one page."""

    longdesc = (
        "Shows vumi_turn at work in a browser, between a simulated phone network and a simulated Turn. "
        "With --hostname, or another AMQP flag, it uses a real RabbitMQ; with --turn-url the real Turn."
    )
    optFlags = [["open", None, "Open the page in a browser"]]
    optParameters = [
        ["http", None, "127.0.0.1:8010", "host:port of the page"],
        ["worker-http", None, "127.0.0.1:8011", "host:port of the worker's webhook"],
        ["config", None, None, "YAML config of a worker, to try its options and middlewares"],
        ["turn-url", None, None, "turn_api_url of a real Turn channel, instead of the simulated one"],
        ["auth-token", None, None, "The real channel's token"],
        ["secret", None, None, "The real channel's HMAC secret"],
    ]

    def postOptions(self) -> None:
        given = [flag for flag in AMQP_FLAGS if self.get(flag) is not None]
        super().postOptions()
        self.real_broker = bool(given)
        self.page = host_and_port(self["http"], "--http")
        self.worker = host_and_port(self["worker-http"], "--worker-http")
        if self["turn-url"] and not (self["auth-token"] and self["secret"]):
            raise usage.UsageError("--turn-url needs --auth-token and --secret: the real channel's")


class Listening(MultiService):
    """A service that also listens; a port that is taken is one clear line and the end."""

    def __init__(self, reactor: Any, host: str, port: int, app: Klein, title: str) -> None:
        super().__init__()
        self._reactor = reactor
        self._host, self._port_number = host, port
        self._app = app
        self._title = title
        self._port: Optional[IListeningPort] = None

    def startService(self) -> None:
        super().startService()
        endpoint = endpoints.TCP4ServerEndpoint(self._reactor, self._port_number, interface=self._host)
        site = Site(self._app.resource())
        site.displayTracebacks = False
        site.noisy = False
        endpoint.listen(site).addCallbacks(self._listening, self._refused)

    def _listening(self, port: IListeningPort) -> None:
        self._port = port
        log.info("{title}: http://{host}:{port}/", title=self._title, host=self._host, port=port.getHost().port)

    def _refused(self, failure: Any) -> None:
        log.critical("{title} cannot start: {reason}", title=self._title, reason=failure.getErrorMessage())
        self._reactor.stop()

    async def _stop(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
        await MultiService.stopService(self)

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())


def make_sandbox(options: SandboxOptions) -> IService:
    """The sandbox's service."""
    from twisted.internet import reactor

    from .server import SandboxServer
    from .world import World

    try:
        config = load_yaml(options["config"]) if options["config"] else {}
    except SettingsError as error:
        raise SystemExit(f"vumi_turn_sandbox: {error}") from None
    host, port = options.page
    if options["turn-url"]:
        config.update(auth_token=options["auth-token"], turn_hmac_secret=options["secret"])
    try:
        world = World(
            reactor,
            config=config,
            worker_bind=f"{options.worker[0]}:{options.worker[1]}",
            turn_url=options["turn-url"] or f"http://{host}:{port}{TURN_PATH}",
            simulate=not options["turn-url"],
            broker=broker_from_options(options.vumi_options, reactor) if options.real_broker else None,
        )
    except ConfigErrors as error:
        raise SystemExit("\n".join(f"vumi_turn_sandbox: {line}" for line in error.errors)) from None
    server = SandboxServer(world, reactor)  # type: ignore[arg-type]
    service = Listening(reactor, host, port, server.app, "The sandbox")
    world.setServiceParent(service)
    if options["open"]:
        _open(f"http://{host}:{port}/", reactor)
    return service


def _open(url: str, reactor: Any) -> None:
    """Show a page in the user's browser, once it is there."""
    command = next((name for name in ("xdg-open", "open") if shutil.which(name)), None)
    if command is None:
        log.warn("No way to open a browser was found; open {url}", url=url)
        return
    reactor.callLater(1, lambda: subprocess.Popen([command, url], stdin=subprocess.DEVNULL))


class SimulatorOptions(usage.Options):
    """A simulated Turn on its own, for the integration tests of any channel."""

    longdesc = (
        "Takes messages and statuses at /v1/numbers/<any>/messages and /statuses, and says what is wrong with "
        "a bad one. GET /requests shows all that came, PUT /weather sets how it behaves, POST /send makes it "
        "POST a signed message to the webhook."
    )
    optParameters = [
        ["http", None, "127.0.0.1:8020", "host:port to listen on"],
        ["webhook", None, "http://127.0.0.1:8080/messages", "The channel's URL for messages"],
        ["token", None, None, "The bearer token that a channel must send (environment: TURN_TOKEN)"],
        ["secret", None, None, "What messages are signed with (environment: TURN_SECRET)"],
        ["limit", None, 60, "Calls allowed in 60 s; 0 is no limit", int],
    ]

    def postOptions(self) -> None:
        self.bind = host_and_port(self["http"], "--http")
        for name in ("token", "secret"):
            self[name] = self[name] or os.environ.get("TURN_" + name.upper())
            if not self[name]:
                raise usage.UsageError(f"--{name} is required, or TURN_{name.upper()} in the environment")
