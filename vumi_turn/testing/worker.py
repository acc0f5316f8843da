"""Workers in tests, as legacy vumi's WorkerHelper runs them (vumi/tests/helpers.py)."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Callable, Mapping, Optional, TypeVar, Union

from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.internet.interfaces import IReactorTime

from ..broker.memory import MemoryBroker
from ..broker.memory_server import MemoryServer
from ..vumi.messages import TransportEvent, TransportUserMessage
from ..vumi.messages.base import Message
from ..vumi.worker import BaseWorker
from .reactor import ReactorInMemory

#: Seconds of the clock for a worker to stop, and the steps in which they pass.
STOP_SECONDS, STOP_STEP = 60.0, 0.1

M = TypeVar("M", bound=Message)
W = TypeVar("W", bound=BaseWorker[Any])


class WorkerNotStarted(Exception):
    """A worker's set-up has failed; the log says why, and trial shows it."""


class RecordingServer(MemoryServer):
    """
    Queues in memory that remember all that was ever put into them.

    :ivar pushed: the bodies, by queue.
    """

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__(clock)
        self.pushed: dict[str, list[bytes]] = defaultdict(list)
        self.on_push: Callable[[], None] = lambda: None

    def push(
        self, name: str, body: bytes, headers: Optional[Mapping[str, Any]] = None, redelivered: bool = False
    ) -> None:
        self.pushed[name].append(body)
        super().push(name, body, headers, redelivered)
        self.on_push()


class WorkerHelper:
    """
    Runs workers on queues in memory. Time stands still but for what the test
    does with :attr:`clock`; what needs no time has happened when a ``dispatch``
    method returns.

    :param connector_name: the connector that is meant where none is named.
    :ivar clock: the workers' reactor: a clock, on which what listens and what connects meet in memory.
    :ivar broker: a connection to the queues, for what tests do to a broker.
    """

    def __init__(self, connector_name: Optional[str] = None) -> None:
        self.connector_name = connector_name
        self.clock = ReactorInMemory()
        self.server = RecordingServer(self.clock)
        self.broker = MemoryBroker(self.clock, self.server)
        self._workers: list[BaseWorker[Any]] = []
        self._waiting: list[tuple[str, int, Deferred[None]]] = []
        self.server.on_push = self._look

    def setup(self) -> None:
        """Connect to the queues."""
        self.broker.start()

    async def _cleanup(self) -> None:
        for worker in list(self._workers):
            await self.cleanup_worker(worker)
        await self.broker.stop()

    def cleanup(self) -> Deferred[None]:
        """Stop all workers."""
        return ensureDeferred(self._cleanup())

    # -- workers -------------------------------------------------------------------

    def get_worker(self, worker_class: type[W], config: Mapping[str, Any], start: bool = True) -> Deferred[W]:
        """
        Make a worker, which is stopped after the test.

        :param config: its options; ``connector_name`` is the helper's where it is not given.
        :param start: whether it is started.
        :return: fires with the worker when it is set up.
        :raises ConfigErrors: (through the Deferred) its options are wrong.
        :raises WorkerNotStarted: (through the Deferred) its set-up has failed.
        """
        return ensureDeferred(self._get_worker(worker_class, config, start))

    async def _get_worker(self, worker_class: type[W], config: Mapping[str, Any], start: bool) -> W:
        options = dict(config)
        if self.connector_name and not {"connector_name", "transport_name"} & set(options):
            options["connector_name"] = self.connector_name
        worker = worker_class(options, broker=self.broker.another(), reactor=self.clock)
        if start:
            await self.start_worker(worker)
        return worker

    async def start_worker(self, worker: BaseWorker[Any]) -> None:
        """
        Start a worker that :meth:`get_worker` did not.

        :raises WorkerNotStarted: its set-up has failed.
        """
        self._workers.append(worker)
        worker.startService()
        self.kick_delivery()
        if not await worker.when_set_up:
            raise WorkerNotStarted(f"the set-up of {type(worker).__name__} has failed")
        self.kick_delivery()

    async def cleanup_worker(self, worker: BaseWorker[Any]) -> None:
        """
        Stop a worker.

        :raises AssertionError: it does not stop.
        """
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        stopped = worker.stopService()
        passed = 0.0
        while not stopped.called and passed < STOP_SECONDS:
            self.clock.flush()
            self.clock.advance(STOP_STEP)
            passed += STOP_STEP
        if not stopped.called:
            raise AssertionError(f"{type(worker).__name__} did not stop within {STOP_SECONDS:g} s")
        await stopped

    # -- time ---------------------------------------------------------------------

    def kick_delivery(self) -> Deferred[None]:
        """Let all happen that needs no time. What was put into the queues has been handled, or waits for something."""
        self.clock.begin()
        self.clock.advance(0)
        while self.clock.flush():
            self.clock.advance(0)
        return succeed(None)

    def advance(self, seconds: float) -> Deferred[None]:
        """
        Let time pass; whatever is due on the way happens at its moment.

        :param seconds: how long.
        """
        end = self.clock.seconds() + seconds
        while True:
            self.kick_delivery()
            times = [call.getTime() for call in self.clock.getDelayedCalls()]
            moment = min((time for time in times if time <= end), default=end)
            if moment >= end:
                break
            self.clock.advance(moment - self.clock.seconds())
        self.clock.advance(max(end - self.clock.seconds(), 0.0))
        return self.kick_delivery()

    # -- what was put into the queues -----------------------------------------------

    def get_dispatched(self, connector_name: Optional[str], name: str, message_class: type[M]) -> list[M]:
        """
        All messages that were put into a queue since the start, or since they were cleared.

        :param connector_name: None is the helper's.
        :param name: ``inbound``, ``outbound`` or ``event``.
        """
        return [message_class.from_json(body) for body in self.server.pushed[self._queue(connector_name, name)]]

    def get_dispatched_inbound(self, connector_name: Optional[str] = None) -> list[TransportUserMessage]:
        """People's messages, the first one first."""
        return self.get_dispatched(connector_name, "inbound", TransportUserMessage)

    def get_dispatched_outbound(self, connector_name: Optional[str] = None) -> list[TransportUserMessage]:
        """Messages to people, the first one first."""
        return self.get_dispatched(connector_name, "outbound", TransportUserMessage)

    def get_outbound(self, connector_name: Optional[str] = None) -> list[TransportUserMessage]:
        """:meth:`get_dispatched_outbound`, by a shorter name."""
        return self.get_dispatched_outbound(connector_name)

    def get_dispatched_events(self, connector_name: Optional[str] = None) -> list[TransportEvent]:
        """Events, the first one first."""
        return self.get_dispatched(connector_name, "event", TransportEvent)

    def wait_for_dispatched_inbound(
        self, amount: Optional[int] = None, connector_name: Optional[str] = None
    ) -> Deferred[list[TransportUserMessage]]:
        """As :meth:`wait_for_dispatched_outbound`."""
        waited = self._wait_for(self._queue(connector_name, "inbound"), amount)
        return waited.addCallback(lambda _: self.get_dispatched_inbound(connector_name))

    def wait_for_dispatched_outbound(
        self, amount: Optional[int] = None, connector_name: Optional[str] = None
    ) -> Deferred[list[TransportUserMessage]]:
        """
        Wait until messages have been dispatched.

        :param amount: how many at least; None is those that there are once all
            has happened that needs no time.
        :return: fires with all of them.
        """
        waited = self._wait_for(self._queue(connector_name, "outbound"), amount)
        return waited.addCallback(lambda _: self.get_dispatched_outbound(connector_name))

    def wait_for_dispatched_events(
        self, amount: Optional[int] = None, connector_name: Optional[str] = None
    ) -> Deferred[list[TransportEvent]]:
        """As :meth:`wait_for_dispatched_outbound`."""
        waited = self._wait_for(self._queue(connector_name, "event"), amount)
        return waited.addCallback(lambda _: self.get_dispatched_events(connector_name))

    def clear_all_dispatched(self) -> None:
        """Forget what was put into all queues; what is in them stays there."""
        self.server.pushed.clear()

    def clear_dispatched_inbound(self, connector_name: Optional[str] = None) -> None:
        """Forget people's messages."""
        self.server.pushed.pop(self._queue(connector_name, "inbound"), None)

    def clear_dispatched_outbound(self, connector_name: Optional[str] = None) -> None:
        """Forget messages to people."""
        self.server.pushed.pop(self._queue(connector_name, "outbound"), None)

    def clear_dispatched_events(self, connector_name: Optional[str] = None) -> None:
        """Forget events."""
        self.server.pushed.pop(self._queue(connector_name, "event"), None)

    # -- putting messages into queues --------------------------------------------------

    def dispatch_raw(self, routing_key: str, message: Union[bytes, Message]) -> Deferred[None]:
        """
        Put something into a queue, and let it be handled.

        :param routing_key: the queue's name.
        :param message: a message, or bytes that are none.
        """
        self.broker.push(routing_key, message.to_json() if isinstance(message, Message) else message)
        return self.kick_delivery()

    def dispatch_inbound(
        self, message: TransportUserMessage, connector_name: Optional[str] = None
    ) -> Deferred[TransportUserMessage]:
        """
        Let a person's message come.

        :param connector_name: None is the helper's.
        :return: fires with the message when it was handled, but for what waits for time or for something else.
        """
        dispatched = self.dispatch_raw(self._queue(connector_name, "inbound"), message)
        return dispatched.addCallback(lambda _: message)

    def dispatch_outbound(
        self, message: TransportUserMessage, connector_name: Optional[str] = None
    ) -> Deferred[TransportUserMessage]:
        """Let a message to a person come to a transport, as :meth:`dispatch_inbound`."""
        dispatched = self.dispatch_raw(self._queue(connector_name, "outbound"), message)
        return dispatched.addCallback(lambda _: message)

    def dispatch_event(self, event: TransportEvent, connector_name: Optional[str] = None) -> Deferred[TransportEvent]:
        """Let an event come, as :meth:`dispatch_inbound`."""
        dispatched = self.dispatch_raw(self._queue(connector_name, "event"), event)
        return dispatched.addCallback(lambda _: event)

    def _queue(self, connector_name: Optional[str], name: str) -> str:
        connector = connector_name or self.connector_name
        if connector is None:
            raise ValueError("say which connector: this helper was made without a connector_name")
        return f"{connector}.{name}"

    def _wait_for(self, queue: str, amount: Optional[int]) -> Deferred[None]:
        self.kick_delivery()
        if len(self.server.pushed[queue]) >= (amount or 0):
            return succeed(None)
        waited: Deferred[None] = Deferred()
        self._waiting.append((queue, amount or 0, waited))
        return waited

    def _look(self) -> None:
        """Tell those who wait for what has come."""
        come = [each for each in self._waiting if len(self.server.pushed[each[0]]) >= each[1]]
        for each in come:
            self._waiting.remove(each)
            if not each[2].called:
                each[2].callback(None)
