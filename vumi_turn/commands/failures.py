"""
``vumi_turn_failures``: see, replay or drop what is parked.

It reads ``<connector>.turn_failures``, or the queue of an application, as a consumer that settles only what it
was told to settle; everything else is back in its place before it ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Awaitable, Callable, Iterable, Optional, Sequence, TextIO

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import BrokerError, Outcome
from ..configuration.files import SettingsError
from ..failures.parked import Parked, Selection
from ..failures.reader import DeliveriesLost, FailuresQueueReader, QueueInUse
from ..service.logs import printable
from ..timing.clock import wall_clock_of
from ..vumi.messages import format_vumi_date
from .channels import connectors_in
from .connection import CannotConnect, connected_broker
from .failures_options import FailuresOptions
from .running import ask_yes_or_no, parse, run_command


class Command:
    """
    One run of the command.

    :param readers: one for each connector; its name is shown where there are several.
    :param clock: says what time it is.
    :param out: gets what the user asked for.
    :param err: gets what the user has to know beside that.
    :param ask: asks the user a yes-or-no question.
    :param as_json: print objects, not lines.
    """

    def __init__(
        self,
        readers: Sequence[FailuresQueueReader],
        clock: IReactorTime,
        out: TextIO,
        err: TextIO,
        ask: Callable[[str], Awaitable[bool]],
        as_json: bool = False,
    ) -> None:
        self._readers = readers
        self._wall = wall_clock_of(clock)
        self._out = out
        self._err = err
        self._ask = ask
        self._json = as_json
        self._found: set[str] = set()
        self._unread = 0

    async def list(self, selection: Selection, content: bool, limit: int) -> int:
        """Print a line for each parked message that is meant; the exit status."""
        count = 0
        for reader in self._readers:

            def line(parked: Parked, reader: FailuresQueueReader = reader) -> Optional[str]:
                if not selection.matches(parked, self._wall()):
                    return None
                self._found.add(parked.id)
                return self._shown(parked, reader, content)

            async def show(text: str) -> Outcome:
                nonlocal count
                count += 1
                print(text, file=self._out)
                return Outcome.REQUEUE

            self._count_unread(reader, limit, *await reader.work(line, show, limit))
        self._sum_up(parked=count)
        return self._status(selection)

    async def replay(self, selection: Selection) -> int:
        """Replay those that are meant; the exit status."""
        replayed = skipped = 0
        try:
            for reader in self._readers:

                async def put_back(parked: Parked, reader: FailuresQueueReader = reader) -> Outcome:
                    nonlocal replayed, skipped
                    if parked.queue is None:
                        skipped += 1
                        self._warn(f"{parked.id}: it does not say which queue it came from, so it stays")
                        return Outcome.REQUEUE
                    await reader.replay(parked)
                    replayed += 1
                    return Outcome.ACK

                self._count_unread(reader, 0, *await reader.work(self._chosen(selection), put_back))
        finally:
            self._sum_up(replayed=replayed, left=skipped)
        return max(self._status(selection), 1 if skipped else 0)

    async def drop(self, selection: Selection, yes: bool) -> int:
        """
        Drop those that are meant, each after asking; the exit status.

        Nobody waits for an answer with the messages in hand: they are read
        once to ask, and once more to drop what may go.
        """
        dropped = 0
        try:
            for reader in self._readers:
                doomed = None if yes else await self._ask_for(reader, selection)
                if doomed is not None and not doomed:
                    continue

                async def drop_one(parked: Parked, doomed: Optional[set[str]] = doomed) -> Outcome:
                    nonlocal dropped
                    if doomed is not None and parked.digest not in doomed:
                        return Outcome.REQUEUE
                    if not parked.delivery.lost:
                        dropped += 1
                    return Outcome.ACK

                self._count_unread(reader, 0, *await reader.work(self._chosen(selection), drop_one))
        finally:
            self._sum_up(dropped=dropped)
        return self._status(selection)

    async def _ask_for(self, reader: FailuresQueueReader, selection: Selection) -> set[str]:
        """Which of them may be dropped: the digests of their bytes."""
        questions: list[tuple[str, str]] = []
        choose = self._chosen(selection)

        def keep(parked: Parked) -> Optional[tuple[str, str]]:
            return None if choose(parked) is None else (parked.digest, self._line(parked, reader))

        async def note(question: tuple[str, str]) -> Outcome:
            questions.append(question)
            return Outcome.REQUEUE

        await reader.work(keep, note)
        return {digest for digest, line in questions if await self._ask(f"{line}\nDrop it for ever? [y/N] ")}

    def _chosen(self, selection: Selection) -> Callable[[Parked], Optional[Parked]]:
        def keep(parked: Parked) -> Optional[Parked]:
            if not selection.matches(parked, self._wall()):
                return None
            self._found.add(parked.id)
            return parked

        return keep

    # -- what is printed -------------------------------------------------------

    def _shown(self, parked: Parked, reader: FailuresQueueReader, content: bool) -> str:
        if self._json:
            return json.dumps(_object_of(parked, reader.connector, content))
        line = self._line(parked, reader)
        return f"{line}\n    {json.dumps(parked.original)}" if content else line

    def _line(self, parked: Parked, reader: FailuresQueueReader) -> str:
        when = format_vumi_date(parked.when) if parked.when is not None else "-"
        parts = [parked.id, parked.queue or "-", parked.code, when, parked.reason]
        return printable("  ".join([reader.connector, *parts] if len(self._readers) > 1 else parts))

    def _sum_up(self, left: int = 0, **count: int) -> None:
        if self._json:
            print(json.dumps({**count, "left": left, "unread": self._unread}), file=self._out)
            return
        ((what, number),) = count.items()
        print(f"{number} {what}" + (f", {left} left" if left else ""), file=self._out)

    def _warn(self, text: str) -> None:
        print(printable(text), file=self._err if self._json else self._out)

    def _count_unread(self, reader: FailuresQueueReader, limit: int, read: int, waiting: int) -> None:
        expected = min(limit or waiting, waiting)
        if read < expected:
            self._unread += expected - read
            print(f"{expected - read} of {expected} messages in {reader.queue} could not be read", file=self._err)

    def _status(self, selection: Selection) -> int:
        missing = [name for name in selection.ids if name not in self._found]
        if missing:
            self._warn(f"not parked: {' '.join(missing)}")
        return 1 if missing or self._unread else 0


def _object_of(parked: Parked, connector: str, content: bool) -> dict[str, Any]:
    found = {
        "connector": connector,
        "id": parked.id,
        "queue": parked.queue,
        "code": parked.code,
        "reason": parked.reason,
        "parked_at": None if parked.when is None else format_vumi_date(parked.when),
        "attempts": parked.attempts,
        "last_status": parked.last_status,
    }
    return {**found, "message": parked.original} if content else found


def _notice(sentence: str) -> None:
    print(sentence, file=sys.stderr)


async def run(reactor: Any, options: FailuresOptions, out: TextIO) -> int:
    """Connect, do what the options say, and disconnect; the exit status."""
    try:
        connectors = connectors_in(options["config"]) if options["config"] else [options["connector"]]
        async with connected_broker(reactor, options.vumi_options) as broker:
            parked_in = options["queue"]
            readers = [FailuresQueueReader(broker, name, reactor, _notice, parked_in) for name in connectors]
            if options["connector"] and await broker.counts(readers[0].queue) is None:
                name = connectors[0]
                raise CannotConnect(f"there is no queue {name}.{parked_in}: is {name} the connector_name of a worker?")
            command = Command(readers, reactor, out, sys.stderr, ask_yes_or_no, bool(options.subOptions["json"]))
            return await _do(command, options)
    except (CannotConnect, QueueInUse, SettingsError, ValueError) as error:
        print(error, file=sys.stderr)
    except DeliveriesLost as error:
        print(f"{printable(str(error))}: that one may be parked still, and so are those behind it", file=sys.stderr)
    except BrokerError as error:
        print(f"the broker did not take a message ({error}); it is still parked", file=sys.stderr)
    return 1


async def _do(command: Command, options: FailuresOptions) -> int:
    chosen = options.subOptions
    if options.subCommand == "list":
        return await command.list(chosen.selection, chosen["content"], chosen["limit"])
    if options.subCommand == "replay":
        return await command.replay(chosen.selection)
    return await command.drop(chosen.selection, chosen["yes"])


def main(argv: Optional[Iterable[str]] = None) -> None:
    """The installed command ``vumi_turn_failures``."""
    options = FailuresOptions()
    parse(options, "vumi_turn_failures", argv)
    run_command(lambda reactor: run(reactor, options, sys.stdout))
