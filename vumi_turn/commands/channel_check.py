"""
``vumi_turn_channel check``: what can be tried before a worker goes live, a line
for each.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Awaitable, Optional, Sequence, TextIO

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater

from ..broker.amqp.inspector import BrokerInspector
from ..channel.config import TurnChannelsApiConfig
from ..configuration.files import SettingsError
from ..http.connections import ProxyConfigurationError, proxy_shown
from ..http.listening import server_endpoint
from ..service.broker_options import parameters_from_options
from ..turn.payloads import MESSAGES_PATH
from ..turn.verdicts import BodyMeaning
from .channel_queues import FAILED, OK, WARNING, look_at_broker
from .channels import WorkerFile, read_worker_file
from .http import HttpClient, NoAnswer, Reply

#: Seconds by which our clock may differ from Turn's. HTTP tells whole seconds.
CLOCK_TOLERANCE = 5.0

#: Seconds for the message cache to become usable.
CACHE_TIMEOUT = 4.0

#: Endpoints that belong to one process, which is not this one.
NOT_OURS = ("systemd", "fd", "onion")


class Check:
    """
    One run.

    :param options: ``CheckOptions``: the file and the broker's flags.
    :param reactor: the reactor.
    :param out: gets a line for each thing that was tried.
    :param amqp_endpoint: where RabbitMQ is, if not where the flags say.
    :param agent: sends the request to Turn, if not one of our own.
    """

    def __init__(self, options: Any, reactor: Any, out: TextIO, amqp_endpoint: Any = None, agent: Any = None) -> None:
        self._options = options
        self._reactor = reactor
        self._out = out
        self._amqp_endpoint = amqp_endpoint
        self._agent = agent
        self._counts = {OK: 0, WARNING: 0, FAILED: 0}
        #: After each title: which of several channels it is about.
        self._suffix = ""
        #: Whether somebody consumes the inbound queue, so that a worker runs
        #: already; None where that is not known.
        self._running: Optional[bool] = None

    async def run(self) -> int:
        """Try everything; the exit status."""
        file = self._read_config()
        connectors = [] if file is None else [config.connector_name for config in file.channels]
        await self._tried("broker", self._look_at_broker(connectors))
        if file is not None:
            for config in file.channels:
                self._suffix = f" ({config.connector_name})" if file.is_fleet else ""
                await self._tried("turn", self._ask_turn(config))
            self._suffix = ""
            for name, endpoint in file.binds.items():
                await self._tried(name, self._listen(name, endpoint))
            for config in file.channels:
                self._suffix = f" ({config.connector_name})" if file.is_fleet else ""
                await self._tried("message cache", self._use_cache(config))
        self._suffix = ""
        counts = ", ".join(f"{count} {level}" for level, count in self._counts.items())
        print(counts, file=self._out)
        return 1 if self._counts[FAILED] else 0

    def _say(self, level: str, title: str, text: str) -> None:
        self._counts[level] += 1
        print(f"{level:<8}{title}{self._suffix}: {' '.join(text.split())}", file=self._out, flush=True)

    async def _tried(self, title: str, trial: Awaitable[None]) -> None:
        try:
            await trial
        except Exception as error:  # whatever a trial stumbles over, the others still say what they find
            self._say(FAILED, title, f"could not be tried ({type(error).__name__}: {error})")

    # -- the configuration -------------------------------------------------------

    def _read_config(self) -> Optional[WorkerFile]:
        """The options, read as the worker reads them; None where it would not start with them."""
        path = self._options["config"]
        try:
            file = read_worker_file(path, self._options.set_options, self._reactor)
        except SettingsError as error:
            self._say(FAILED, "config", str(error))
            return None
        for sentence in file.warnings:
            self._say(WARNING, "config", sentence)
        for sentence in file.errors:
            self._say(FAILED, "config", sentence)
        if file.errors:
            self._say(WARNING, "config", "only the broker is tried as well, until this is mended")
            return None
        names = ", ".join(config.connector_name for config in file.channels)
        what = f"its {len(file.channels)} channels are {names}" if file.is_fleet else f"the connector is {names}"
        self._say(OK, "config", f"{path} is right; {what}")
        return file

    # -- RabbitMQ ----------------------------------------------------------------

    async def _look_at_broker(self, connectors: Sequence[str]) -> None:
        parameters = parameters_from_options(self._options.vumi_options)
        inspector = BrokerInspector(parameters, self._reactor, self._amqp_endpoint)
        self._running = await look_at_broker(inspector, parameters, connectors, self._say)

    # -- Turn --------------------------------------------------------------------

    async def _ask_turn(self, config: TurnChannelsApiConfig) -> None:
        """
        POST an empty object to ``/messages``. There is no message in it and
        nobody whom it is from, so Turn can only refuse it: as not allowed
        where the token is wrong, as invalid where it is right.
        """
        url = config.turn_api_url
        if url.startswith("http:"):
            self._say(WARNING, "turn", "turn_api_url is http: the token and what people write are not encrypted")
        try:
            proxy = proxy_shown(url, os.environ)
        except ProxyConfigurationError as error:
            self._say(FAILED, "turn", str(error))
            return
        if proxy is not None:
            self._say(OK, "turn", f"reached through the proxy {proxy}, as the environment says")
        try:
            client = HttpClient(self._reactor, self._agent, config.mo_message_url_timeout)
            reply = await client.post(url + MESSAGES_PATH, config.auth_token, {})
        except NoAnswer as error:
            self._say(FAILED, "turn", f"no answer from {url}: {error}")
            return
        self._say(*judged(reply, config.auth_token))
        self._compare_clocks(reply)

    def _compare_clocks(self, reply: Reply) -> None:
        if reply.skew is None:
            self._say(WARNING, "clock", "not compared: Turn's answer has no Date")
            return
        where = "ahead of" if reply.skew > 0 else "behind"
        text = f"ours is {abs(reply.skew):.0f} s {where} Turn's"
        if abs(reply.skew) > CLOCK_TOLERANCE:
            self._say(WARNING, "clock", f"{text}: messages will seem to come at a wrong time; is NTP running?")
        else:
            self._say(OK, "clock", f"{text}, as far as can be told")

    # -- what the worker uses on this machine ---------------------------------------

    async def _listen(self, name: str, endpoint: str) -> None:
        if endpoint.partition(":")[0] in NOT_OURS:
            self._say(OK, name, f"not tried: {endpoint.partition(':')[0]} hands it to the worker alone")
            return
        try:
            port: IListeningPort = await server_endpoint(self._reactor, endpoint).listen(Factory())
        except (CannotListenError, OSError, ValueError) as error:
            self._say(*self._cannot_listen(name, error))
            return
        stopped = port.stopListening()
        if stopped is not None:
            await stopped
        self._say(OK, name, f"{endpoint} is free")

    def _cannot_listen(self, name: str, error: Exception) -> tuple[str, str, str]:
        cause = getattr(error, "socketError", error)
        if getattr(cause, "errno", None) != errno.EADDRINUSE:
            return FAILED, name, str(error)
        if self._running is None:
            return WARNING, name, "in use: if not by the worker, then it cannot start"
        if self._running:
            return WARNING, name, "in use, by the worker that runs already it seems"
        return FAILED, name, "another program listens there, and no worker of ours is running"

    async def _use_cache(self, config: TurnChannelsApiConfig) -> None:
        cache = config.message_cache_class(config.message_cache_config, self._reactor)
        name = type(cache).__name__
        try:
            await cache.start()
            deadline = self._reactor.seconds() + CACHE_TIMEOUT
            # One attempt that failed, with its reason, is enough to know.
            while not (cache.healthy or cache.trouble) and self._reactor.seconds() < deadline:
                await deferLater(self._reactor, 0.1)
            if cache.healthy:
                self._say(OK, "message cache", f"{name} is ready")
            else:
                why = cache.trouble or "no reason is known"
                self._say(FAILED, "message cache", f"{name} cannot be used ({why})")
        finally:
            await cache.stop()


#: What to look at where something else than Turn answers.
PAGE_HINT = "check turn_api_url, and what is between here and Turn (a proxy, a portal that wants a login)"


def _code_of(reply: Reply) -> Optional[int]:
    """The first error's code, where it is one of HTTP's."""
    errors = reply.json().get("errors")
    code = errors[0].get("code") if isinstance(errors[0], dict) else None
    return code if type(code) is int and 400 <= code < 600 else None


def _is_object(reply: Reply) -> bool:
    try:
        return isinstance(reply.json(), dict)
    except ValueError:
        return False


def judged(reply: Reply, token: str) -> tuple[str, str, str]:
    """
    What Turn's answer to an empty object says of URL and token: level, title
    and text of a line.

    Source: Turn's API looks at the token first (401, 403), then at the path
    (404), then at the request (400, 422).
    """
    status = reply.status
    said = reply.words(token)
    words = f" ({said})" if said else ""
    if reply.meaning is BodyMeaning.WEB_PAGE:
        return FAILED, "turn", f"a web page answers ({status}), not Turn's API: {PAGE_HINT}"
    if 200 <= status < 300 and reply.meaning is BodyMeaning.TOO_MANY:
        status = 429
    elif 200 <= status < 300 and reply.meaning is BodyMeaning.ERRORS:
        status = _code_of(reply) or 400
        words = f" (in the body of {reply.status}){words}"
    if status in (400, 422):
        if not _is_object(reply):
            return WARNING, "turn", f"{status}, but not in Turn's form: is it Turn that answers? {PAGE_HINT}"
        shown = status if status == reply.status else f"{reply.status} with errors"
        return OK, "turn", f"reached, and it takes the token: {shown} to an empty request, as it should be"
    if 200 <= status < 300:
        return WARNING, "turn", f"reached, and it takes the token; but it answers {status} to an empty request"
    if status in (401, 403):
        return FAILED, "turn", f"it does not take auth_token: {status}{words}. It must be this channel's own token"
    if status == 404:
        return FAILED, "turn", f"turn_api_url is not a channel's: 404{words}"
    if status == 429:
        return WARNING, "turn", "reached, but it takes no more requests just now (429): the token was not judged"
    if 300 <= status < 400:
        return FAILED, "turn", f"turn_api_url is redirected ({status}), which the worker does not follow"
    if status >= 500:
        return FAILED, "turn", f"reached, but it fails: {status}{words}"
    return WARNING, "turn", f"reached, but {status} to an empty request says nothing of the token{words}"
