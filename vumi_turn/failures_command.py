"""
``vumi_turn_failures``: see, replay or drop what is parked.

It reads ``<connector>.turn_failures`` as a consumer that settles only what it
was told to settle; everything else goes back to its place when it ends.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Awaitable, Callable, Iterable, Optional, Sequence, TextIO

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.python import usage

from .failures import FAILURES, body_of
from .vumi.broker import Broker, BrokerError, Delivery, Outcome
from .vumi.message import FailureMessage, MalformedMessage, format_vumi_date
from .vumi.servicemaker import VumiOptions, broker_from_options

#: The queue has been read when nothing more has come for this many seconds.
QUIET = 1.0

#: How long to wait for the broker, in seconds.
CONNECT_TIMEOUT = 15.0

#: How many parked messages are read at a time: AMQP's largest prefetch.
MOST = 65535


@dataclass(frozen=True)
class Parked:
    """
    One parked message.

    :ivar id: the original's ``message_id`` or ``event_id``; where it has none,
        a digest of the parked bytes.
    :ivar queue: ``inbound`` or ``event``; None where the failure message does
        not say, so that it cannot be replayed.
    """

    id: str
    queue: Optional[str]
    code: str
    reason: str
    when: Optional[datetime]
    original: Any
    delivery: Delivery


def read_parked(delivery: Delivery) -> Parked:
    """What a delivery from a failures queue holds; junk is shown as such, never an error."""
    digest = "digest-" + hashlib.blake2b(delivery.body, digest_size=8).hexdigest()
    try:
        failure = FailureMessage.from_json(delivery.body)
    except MalformedMessage as error:
        text = delivery.body.decode("utf-8", "backslashreplace")
        return Parked(digest, None, "unreadable", f"Not a failure message: {error}", None, text, delivery)
    turn = failure.helper_metadata.get("turn")
    queue = turn.get("queue") if isinstance(turn, dict) else None
    original = failure.message
    ids = [original.get("event_id"), original.get("message_id")] if isinstance(original, dict) else []
    named = next((name for name in ids if isinstance(name, str) and name), digest)
    return Parked(
        named,
        queue if queue in ("inbound", "event") else None,
        failure.failure_code,
        failure.reason,
        failure.timestamp,
        original,
        delivery,
    )


class FailuresDesk:
    """
    Works through one connector's failures queue.

    :param broker: a started broker.
    :param connector: the connector's name.
    :param clock: for the waits.
    """

    def __init__(self, broker: Broker, connector: str, clock: IReactorTime) -> None:
        self._broker = broker
        self._connector = connector
        self._clock = clock
        self._started = datetime.fromtimestamp(clock.seconds(), timezone.utc)

    async def work(self, treat: Callable[[Parked], Awaitable[Outcome]], limit: int = 0) -> int:
        """
        Show each parked message to ``treat``, oldest first, and settle it as
        that says: ACK takes it out of the queue, REQUEUE leaves it there.

        :param limit: how many to read at the most; 0 is as many as can be, :data:`MOST`.
        :return: how many were read.
        :raises vumi_turn.vumi.broker.BrokerError: if the broker did not take a replay.
        """
        most = min(limit or MOST, MOST)
        found: list[tuple[Parked, Deferred[Outcome]]] = []
        last_seen = self._clock.seconds()

        async def take(delivery: Delivery) -> Outcome:
            nonlocal last_seen
            last_seen = self._clock.seconds()
            settled: Deferred[Outcome] = Deferred()
            found.append((read_parked(delivery), settled))
            return await settled

        consumer = self._broker.consume(f"{self._connector}.{FAILURES}", take, prefetch=most)
        consumer.unpause()
        while self._clock.seconds() - last_seen < QUIET and len(found) < most:
            await _sleep(self._clock, QUIET / 10)
        consumer.pause()
        for parked, settled in found:
            if parked.when is not None and parked.when > self._started:
                settled.callback(Outcome.REQUEUE)  # parked while we work: a replay that failed again
                continue
            settled.callback(await treat(parked))
        return len(found)

    async def replay(self, parked: Parked) -> None:
        """Publish the original to the queue it came from; returns once the broker has it."""
        await self._broker.publisher(f"{self._connector}.{parked.queue}").publish(body_of(parked.original))


def _sleep(clock: IReactorTime, seconds: float) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    clock.callLater(seconds, done.callback, None)
    return done


class _Subcommand(usage.Options):
    """Options of one subcommand, with ids as its arguments."""

    def __init__(self) -> None:
        super().__init__()
        self["ids"] = ()

    def parseArgs(self, *ids: str) -> None:
        self["ids"] = ids


class ListOptions(_Subcommand):
    """List what is parked, or only the named ones."""

    optFlags = [["content", None, "Show the messages themselves too: they hold people's words and addresses"]]
    optParameters = [["limit", None, 0, "How many to read at the most; 0 is all", int]]


class ReplayOptions(_Subcommand):
    """Put parked messages back into the queue that they came from."""

    optFlags = [["all", None, "All that are parked"]]

    def postOptions(self) -> None:
        if bool(self["all"]) == bool(self["ids"]):
            raise usage.UsageError("replay: name the ids to replay, or say --all")


class DropOptions(_Subcommand):
    """Throw chosen parked messages away, after asking."""

    optFlags = [["yes", None, "Don't ask"]]

    def postOptions(self) -> None:
        if not self["ids"]:
            raise usage.UsageError("drop: name the ids to drop")


class FailuresOptions(VumiOptions):
    """The worker's AMQP flags, the connector, and what to do."""

    synopsis = "Usage: vumi_turn_failures [options] --connector NAME list|replay|drop [ids]"
    longdesc = "Lists, replays or drops the messages that could not be handed to Turn."
    optParameters = [["connector", "c", None, "The connector's name (connector_name of the worker's config)"]]
    subCommands = [
        ["list", None, ListOptions, "List what is parked"],
        ["replay", None, ReplayOptions, "Put messages back into their queue"],
        ["drop", None, DropOptions, "Throw messages away, after asking"],
    ]

    def postOptions(self) -> None:
        super().postOptions()
        if not self["connector"]:
            raise usage.UsageError("--connector is required: the connector_name of the worker's config")
        if self.subCommand is None:
            raise usage.UsageError("say what to do: list, replay or drop")


class Command:
    """
    One run of the command.

    :param desk: what it works on.
    :param out: gets what the user asked for.
    :param ask: asks the user a yes-or-no question.
    """

    def __init__(self, desk: FailuresDesk, out: TextIO, ask: Callable[[str], Awaitable[bool]]) -> None:
        self._desk = desk
        self._out = out
        self._ask = ask

    async def list(self, ids: Sequence[str], content: bool, limit: int) -> int:
        """Print a line for each parked message; the exit status."""
        shown = 0

        async def show(parked: Parked) -> Outcome:
            nonlocal shown
            if not ids or parked.id in ids:
                shown += 1
                self._say(_line_of(parked))
                if content:
                    self._say("    " + json.dumps(parked.original))
            return Outcome.REQUEUE

        await self._desk.work(show, limit)
        self._say(f"{shown} parked")
        return self._missing(ids, shown)

    async def replay(self, ids: Sequence[str]) -> int:
        """Replay the named ones, or all where ``ids`` is empty; the exit status."""
        replayed = skipped = 0

        async def put_back(parked: Parked) -> Outcome:
            nonlocal replayed, skipped
            if ids and parked.id not in ids:
                return Outcome.REQUEUE
            if parked.queue is None:
                skipped += 1
                self._say(f"{parked.id}: it does not say which queue it came from, so it stays")
                return Outcome.REQUEUE
            await self._desk.replay(parked)
            replayed += 1
            return Outcome.ACK

        await self._desk.work(put_back)
        self._say(f"{replayed} replayed" + (f", {skipped} left" if skipped else ""))
        return 1 if skipped else self._missing(ids, replayed)

    async def drop(self, ids: Sequence[str], yes: bool) -> int:
        """Drop the named ones, each after asking; the exit status."""
        found = dropped = 0

        async def drop_one(parked: Parked) -> Outcome:
            nonlocal found, dropped
            if parked.id not in ids:
                return Outcome.REQUEUE
            found += 1
            if not (yes or await self._ask(f"{_line_of(parked)}\nDrop it for ever? [y/N] ")):
                return Outcome.REQUEUE
            dropped += 1
            return Outcome.ACK

        await self._desk.work(drop_one)
        self._say(f"{dropped} dropped")
        return self._missing(ids, found)

    def _missing(self, ids: Sequence[str], found: int) -> int:
        if ids and not found:
            self._say("none of these ids is parked")
            return 1
        return 0

    def _say(self, text: str) -> None:
        print(text, file=self._out)


def _line_of(parked: Parked) -> str:
    when = format_vumi_date(parked.when) if parked.when is not None else "-"
    return f"{parked.id}  {parked.queue or '-'}  {parked.code}  {when}  {parked.reason}"


async def _ask_on_terminal(question: str) -> bool:
    """Asked in a thread, because the connection needs its heartbeats meanwhile."""
    try:
        answer: str = await deferToThread(input, question)
    except EOFError:
        return False  # there is nobody to answer
    return answer.strip().lower() in ("y", "yes")


async def run(reactor: Any, options: FailuresOptions, out: TextIO) -> int:
    """Connect, do what the options say, and disconnect; the exit status."""
    broker = broker_from_options(options.vumi_options, reactor)
    broker.start()
    try:
        deadline = reactor.seconds() + CONNECT_TIMEOUT
        while broker.state != "connected":
            if reactor.seconds() > deadline:
                print(f"no usable connection to the broker within {CONNECT_TIMEOUT:.0f} s", file=sys.stderr)
                return 1
            await _sleep(reactor, 0.05)
        command = Command(FailuresDesk(broker, options["connector"], reactor), out, _ask_on_terminal)
        chosen = options.subOptions
        if options.subCommand == "list":
            return await command.list(chosen["ids"], chosen["content"], chosen["limit"])
        if options.subCommand == "replay":
            return await command.replay(chosen["ids"])
        return await command.drop(chosen["ids"], chosen["yes"])
    except BrokerError as error:
        print(f"the broker did not take a message ({error}); it is still parked", file=sys.stderr)
        return 1
    finally:
        await broker.stop(5)


def main(argv: Optional[Iterable[str]] = None) -> None:
    """The installed command ``vumi_turn_failures``."""
    options = FailuresOptions()
    try:
        options.parseOptions(list(argv) if argv is not None else sys.argv[1:])
    except usage.UsageError as error:
        print(f"{options.synopsis}\nvumi_turn_failures: {error}", file=sys.stderr)
        raise SystemExit(2) from None

    from twisted.internet import reactor
    from twisted.internet.task import react

    def start(_reactor: Any) -> Deferred[None]:
        return ensureDeferred(_exit_with(run(_reactor, options, sys.stdout)))

    react(start, (), reactor)  # type: ignore[arg-type]


async def _exit_with(status: Awaitable[int]) -> None:
    code = await status
    if code:
        raise SystemExit(code)
