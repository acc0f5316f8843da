"""
One connection to Redis that mends itself.

txredisapi speaks Redis' protocol; when to connect, for how long to wait and
when to give a connection up is decided here: its own pool waits without bound
while Redis is away, never comes back after a refused password, and does not
verify certificates. The connection is the unit of recovery: a command that is
not answered in time ends it. One that Redis refuses for what it is about (a key
of another type, no memory for more) does not.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, Sequence

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..http.tls import CertificateRefused
from ..timing.named_log import named
from .redis_address import CONNECT_TIMEOUT, RedisAddress

module_log = Logger()

#: Seconds for a command's answer.
ANSWER_TIMEOUT = 0.5
#: Seconds before the first attempt to connect again, doubling to the last.
FIRST_DELAY = 0.5
LAST_DELAY = 5.0
#: Seconds between two log lines while Redis is away.
LOG_INTERVAL = 60.0
#: Names of users in such a line.
NAMES = 10


class RedisAway(Exception):
    """There is no connection, or the command was not answered in time. What it did is not known."""


class WriteRefused(RedisAway):
    """Redis reads, but writes nothing at the moment: it has no memory left, or cannot save."""


class ScriptFailed(RedisAway):
    """A script failed on what its keys hold: another type, or nothing that it can read."""


#: Words of Redis' errors. Inside a script they may stand anywhere in the text.
_NO_WRITING = ("OOM", "MISCONF", "NOREPLICAS")
_NO_SERVICE = ("READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "NOPERM", "WRONGPASS", "BUSY", "can't run this command")


class RedisListener(Protocol):
    """
    Is told when the connection comes and goes.

    :ivar connector: whose it is, for log lines; empty where it is no connector's.
    :ivar key_prefix: what its keys begin with.
    """

    connector: str
    key_prefix: str

    def redis_up(self) -> None:
        """Redis answers."""

    def redis_down(self) -> None:
        """The connection is lost, or was given up."""


class RedisConnection:
    """
    Keeps one connection while somebody uses it.

    :param address: where to connect, and as whom.
    :param reactor: connects, and tells the time.
    :param endpoint: instead of the one of ``address``; for tests.
    :param consequence: what is not possible while Redis is away, for the log.
    :ivar trouble: why it could not be used last, in few words; empty while it can.
    """

    def __init__(
        self,
        address: RedisAddress,
        reactor: Any,
        endpoint: Optional[IStreamClientEndpoint] = None,
        consequence: str = "replies and statuses know this worker's own messages only",
    ) -> None:
        self._address = address
        self._consequence = consequence
        self._clock: IReactorTime = reactor
        self._endpoint = address.endpoint(reactor) if endpoint is None else endpoint
        self._listeners: list[RedisListener] = []
        self._protocol: Any = None
        self._running: Optional[Deferred[None]] = None
        self._first: Deferred[None] = Deferred()
        self._told = float("-inf")
        self._away_since: Optional[float] = None
        self._up = False
        self._refusal: Optional[CertificateRefused] = None
        self.trouble = ""

    @property
    def up(self) -> bool:
        """Whether Redis answers."""
        return self._up

    async def start(self, listener: RedisListener) -> None:
        """
        Connect, and tell ``listener`` from now on; returns when the first
        attempt has ended, or after half a second.
        """
        self._listeners.append(listener)
        if self._running is None:
            self._first = Deferred()
            self._running = ensureDeferred(self._run())
            self._running.addErrback(self._ended)
        elif self._up:
            listener.redis_up()
        if not self._first.called:
            await observer_of(self._first).addTimeout(ANSWER_TIMEOUT, self._clock, lambda result, timeout: None)

    async def stop(self, listener: RedisListener) -> None:
        """Tell ``listener`` no more. Without any listener the connection is closed."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        if self._listeners:
            return
        if not self._first.called:
            self._first.callback(None)
        running, self._running = self._running, None
        if running is not None:
            running.cancel()

    async def evaluate(self, script: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """
        Run a Lua script in Redis.

        :return: its answer; texts are bytes.
        :raises RedisAway: there is no connection, or no answer in time.
        :raises WriteRefused: Redis writes nothing at the moment.
        :raises ScriptFailed: what the keys hold is not what the script wants.
        """
        return await self._ask("eval", script, keys, arguments)

    async def _ask(self, command: str, *arguments: Any) -> Any:
        protocol = self._protocol
        if protocol is None:
            raise RedisAway("not connected")
        try:
            answer: Deferred[Any] = getattr(protocol, command)(*arguments)
            return await _AnswerTimeout(self._clock, protocol, answer).answer
        except CancelledError:
            raise  # our caller has given up; the connection is none the worse
        except Exception as error:
            refused = _refusal(error)
            if refused is not None:
                raise refused from None
            if protocol is self._protocol:
                self._drop()
            raise RedisAway(_reason(error)) from None

    async def _run(self) -> None:
        delay = FIRST_DELAY
        while True:
            lost: Deferred[None] = Deferred()
            try:
                await self._connect(lost)
                delay = FIRST_DELAY
                reason = await self._serve(lost)
            except CancelledError:
                raise
            except Exception as error:  # sockets, names and TLS fail in many ways; none ends the attempts
                reason = _reason(self._refusal or error)
            finally:
                self._drop()
            if not self._listeners:  # an attempt that is cancelled may fail in its own way
                return
            self._went(reason)
            await deferLater(self._clock, delay, lambda: None)
            delay = min(2 * delay, LAST_DELAY)

    async def _connect(self, lost: Deferred[None]) -> None:
        self._refusal = None
        self._protocol = await self._endpoint.connect(_factory(lost, self._clock, self._lost)).addTimeout(
            CONNECT_TIMEOUT + ANSWER_TIMEOUT, self._clock
        )
        address = self._address
        if address.password:
            await self._ask("auth", address.password, address.username or None)
        if address.database:
            await self._ask("select", address.database)
        await self._ask("ping")

    async def _serve(self, lost: Deferred[None]) -> str:
        self._up = True
        self.trouble = ""
        self._first_attempt_ended()
        if self._away_since is not None:
            # A line only for an absence that had its own line: no more than one a minute.
            if self._told >= self._away_since:
                log, users = self._log()
                log.info(
                    "Redis at {address} is back after {seconds:.0f} s{users}",
                    address=str(self._address),
                    seconds=self._clock.seconds() - self._away_since,
                    users=users,
                )
            self._away_since = None
        for listener in list(self._listeners):
            listener.redis_up()
        await lost
        return "the connection was lost"

    def _lost(self, reason: Failure) -> None:
        """The commands that wait are only told that the connection is gone."""
        if isinstance(reason.value, CertificateRefused):
            self._refusal = reason.value

    def _drop(self) -> None:
        """Give the connection up; the attempts go on when its loss is told."""
        was_up, self._up = self._up, False
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abortConnection()
        if was_up:
            for listener in list(self._listeners):
                listener.redis_down()

    def _went(self, reason: str) -> None:
        """Note that Redis is away: one log line when it goes, then one a minute."""
        self.trouble = f"Redis at {self._address}: {reason}"
        now = self._clock.seconds()
        if self._away_since is None:
            self._away_since = now
        if now - self._told >= LOG_INTERVAL:
            self._told = now
            log, users = self._log()
            log.error(
                "Redis at {address} is away ({reason}): {consequence}; still trying{users}",
                address=str(self._address),
                reason=reason,
                consequence=self._consequence,
                users=users,
            )
        self._first_attempt_ended()

    def _first_attempt_ended(self) -> None:
        """Let the start go on. It may have come to a stop when this returns."""
        if not self._first.called:
            self._first.callback(None)
        if not self._listeners:
            raise CancelledError()

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            log, users = self._log()
            log.failure("The connection to Redis has ended{users}", failure, users=users)

    def _log(self) -> tuple[Logger, str]:
        """A logger that names whose connection it is, and what the line has to add where it is not one connector's."""
        connectors = sorted({each.connector for each in self._listeners})
        if len(connectors) == 1 and connectors[0]:
            return named(module_log, connectors[0]), ""
        names = sorted({each.connector or f"keys {each.key_prefix}…" for each in self._listeners})
        more = f" and {len(names) - NAMES} more" if len(names) > NAMES else ""
        return module_log, f" (for {', '.join(names[:NAMES])}{more})" if names else ""


class _AnswerTimeout:
    """
    Cancels what is not answered in time. A process that stood still finds its
    timeouts over and the answers not read: so this ends nothing as long as
    each turn of the reactor reads something of the connection.

    :param protocol: counts what it hears.
    :ivar answer: fails with TimeoutError where it does not come in time.
    """

    def __init__(self, clock: IReactorTime, protocol: Any, answer: Deferred[Any]) -> None:
        self._clock = clock
        self._protocol = protocol
        self._heard = -1
        self._over = False
        self._call = clock.callLater(ANSWER_TIMEOUT, self._look)
        self.answer = answer.addBoth(self._ended)

    def _look(self) -> None:
        heard = self._protocol.heard
        if heard != self._heard:
            self._heard = heard
            # A call that is added now is made only after the reactor has read.
            self._call = self._clock.callLater(0, self._look)
            return
        self._over = True
        self.answer.cancel()

    def _ended(self, result: Any) -> Any:
        if self._call.active():
            self._call.cancel()
        if self._over and isinstance(result, Failure) and result.check(CancelledError):
            return Failure(TimeoutError(f"no answer in {ANSWER_TIMEOUT} s"))
        return result


def observer_of(event: Deferred[None]) -> Deferred[None]:
    """Fires when ``event`` does, and may be cancelled for itself."""
    observer: Deferred[None] = Deferred()

    def fire(result: None) -> None:
        if not observer.called:
            observer.callback(None)

    event.addCallback(fire)
    return observer


def _factory(lost: Deferred[None], clock: IReactorTime, why: Callable[[Failure], None]) -> Factory:
    # txredisapi installs the global reactor when it is imported.
    from txredisapi import RedisProtocol

    class Protocol(RedisProtocol):  # type: ignore[misc]
        """Tells when its connection is gone; its parser goes on by our clock."""

        callLater = clock.callLater
        #: How often it was given something to read: an answer, or the rest of what has come.
        heard = 0

        def dataReceived(self, data: bytes, *unpause: bool) -> None:
            self.heard += 1
            super().dataReceived(data, *unpause)

        def connectionLost(self, reason: Failure) -> None:
            why(reason)
            super().connectionLost(reason)
            if not lost.called:
                lost.callback(None)

    class ProtocolFactory(Factory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            protocol = Protocol(charset=None, convertNumbers=False)
            protocol.factory = self
            return protocol

    return ProtocolFactory()


def _refusal(error: Exception) -> Optional[RedisAway]:
    """What an error says of the command only; None where Redis, or the way to it, is at fault."""
    text = str(error)
    if type(error).__name__ != "ResponseError" or any(word in text for word in _NO_SERVICE):
        return None
    if any(word in text for word in _NO_WRITING):
        return WriteRefused(_reason(error))
    if "WRONGTYPE" in text or "user_script" in text:
        return ScriptFailed(_reason(error))
    return None


def _reason(error: Exception) -> str:
    """Why, in few words; never what was sent."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:200] if str(error) else type(error).__name__
