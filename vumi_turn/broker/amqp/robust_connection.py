"""A connection that is made again, from nothing, whenever it is lost."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...timing.backoff import RECONNECT_FIRST, RECONNECT_LONGEST, Backoff
from .client import Client
from .errors import ConnectionGone
from .parameters import ConnectionParameters
from .transport import is_tls_failure

#: RabbitMQ's reply codes while we log in.
_ACCESS_REFUSED, _NOT_ALLOWED, _NOT_FOUND, _INVALID_PATH = 403, 530, 404, 402

log = Logger()


class ConnectionFailure(NamedTuple):
    """
    Why there is no usable connection.

    :ivar kind: ``away``, ``credentials``, ``vhost``, ``tls``, or ``misfit`` where what answers cannot be used.
    :ivar sentence: the reason, for a log line.
    """

    kind: str
    sentence: str


class RobustConnection:
    """
    One of the broker's connections.

    :param role: ``consuming`` or ``publishing``.
    :param parameters: where RabbitMQ is, and who we are there.
    :param endpoint: where RabbitMQ is, an ``IStreamClientEndpoint``.
    :param clock: the reactor's clock.
    :param up: called with each connection when it is logged in.
    :param down: called with the :class:`ConnectionFailure` when there is none, after each attempt.
    :param lost: called when a connection that was logged in, or was to be, is gone.
    :ivar client: the connection, None while there is none.
    :ivar ready: True while it is logged in.
    :ivar established: True once it has been of use, and what was set up on it works.
    :ivar losses: how many established connections were lost.
    """

    def __init__(
        self,
        role: str,
        parameters: ConnectionParameters,
        endpoint: Any,
        clock: Any,
        *,
        up: Callable[[Client], None],
        down: Callable[[ConnectionFailure], None],
        lost: Callable[[], None],
    ) -> None:
        self.losses = 0
        self.ready = False
        self.established = False
        self.client: Optional[Client] = None
        self._role = role
        self._parameters = parameters
        self._endpoint = endpoint
        self._clock = clock
        self._up = up
        self._down = down
        self._lost = lost
        self._stopping = False
        self._running: Optional[Deferred[None]] = None
        self._pause: Optional[Deferred[Any]] = None

    def start(self) -> None:
        """Connect, and connect again after each loss until :meth:`stop`."""
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(
            lambda failure: log.failure("The {role} connection's loop ended", failure, role=self._role)
        )

    def stop(self, timeout: float) -> Deferred[None]:
        """Close the connection; abort it if RabbitMQ has not answered within ``timeout`` seconds."""
        self._stopping = True
        if self._running is None:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._running.addCallback(lambda _: done.callback(None))
        if self._pause is not None:
            self._pause.cancel()
        elif self.client is not None:
            self.client.shut_down(timeout)
        return done

    async def _run(self) -> None:
        backoff = Backoff(RECONNECT_FIRST, RECONNECT_LONGEST, at_once=True)
        backoff.next()  # its first delay is 0, and the first attempt was made without waiting
        while not self._stopping:
            try:
                if await self._connection():
                    backoff.reset()
            except Exception:  # whatever it was, another connection has to be tried
                log.failure("The {role} connection failed in a way that was not expected", role=self._role)
            if not self._stopping:
                await self._sleep(backoff.next())

    async def _connection(self) -> bool:
        """Make, use and lose one connection; return whether it was established."""
        try:
            connecting = self._endpoint.connect(ClientFactory(self._new_client))
            self._pause = connecting
            try:
                client = await connecting
            finally:
                self._pause = None
        except CancelledError:
            return False
        except Exception as error:  # DNS, TCP and proxies have exceptions of many classes
            self._down(unreachable(error))
            return False
        if self._stopping:
            client.abort()
        self.client = client
        try:
            return await self._use(client)
        finally:
            self.ready = False
            self.client = None

    async def _use(self, client: Client) -> bool:
        try:
            await client.handshake()
            self.ready = not client.closed
            if self.ready:
                self._up(client)
        except ConnectionGone:
            pass
        except Exception:  # a bug while setting up must not end the loop
            log.failure("Setting up the {role} connection failed", role=self._role)
            client.give_up("it could not be set up")
        if not self.ready:
            client.bound_closing()
        await client.gone()
        was_established, self.ready, self.established = self.established, False, False
        if not self._stopping:
            self.losses += was_established
            self._down(failure_of(client))  # first, so that observers of lost deliveries see the new state
        self._lost()
        return was_established

    def _new_client(self) -> Client:
        return Client(self._parameters, self._role, self._clock)

    def _sleep(self, seconds: float) -> Deferred[None]:
        """Wait; 0 seconds still let the reactor run once."""

        def woken(result: Any) -> None:
            self._pause = None
            if call.active():
                call.cancel()

        pause: Deferred[Any] = Deferred()
        self._pause = pause
        call = self._clock.callLater(seconds, pause.callback, None)
        return pause.addBoth(woken)


def unreachable(error: Exception) -> ConnectionFailure:
    """Why there is no connection to RabbitMQ at all."""
    return ConnectionFailure("away", f"cannot connect ({_words(error)})")


def failure_of(client: Client) -> ConnectionFailure:
    """Why a connection that is gone could not be used, or not any longer."""
    code, text = client.refusal or (0, "")
    user, vhost = client.parameters.username, client.parameters.vhost
    if client.misfit:
        return ConnectionFailure("misfit", client.why())
    if client.opened:
        return ConnectionFailure("away", client.why())
    if code == _ACCESS_REFUSED:
        sentence = f"it refuses the user name or password of user {user!r} ({text}): check them"
        return ConnectionFailure("credentials", sentence)
    if code in (_NOT_ALLOWED, _NOT_FOUND, _INVALID_PATH):
        return ConnectionFailure("vhost", f"user {user!r} cannot use the vhost {vhost!r} ({text}): check the vhost")
    reason = client.lost_reason
    if reason is not None and reason.value is not None and is_tls_failure(reason.value):
        return ConnectionFailure("tls", f"TLS with it failed ({_words(reason.value)})")
    return ConnectionFailure("away", client.why())


def _words(error: BaseException) -> str:
    text = Failure(error).getErrorMessage() or str(error)
    return f"{type(error).__name__}: {text}"


class ClientFactory(Factory):
    """Makes the client only when there is a connection: a client without one would leave timers behind."""

    noisy = False

    def __init__(self, make: Callable[[], Client]) -> None:
        self._make = make

    def buildProtocol(self, addr: Any) -> Client:
        return self._make()
