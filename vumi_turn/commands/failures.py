"""
``vumi_turn_failures``: see, replay or drop what is parked.

It reads ``<connector>.turn_failures`` as a consumer that settles only what it
was told to settle; everything else goes back to its place when it ends.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Awaitable, Callable, Collection, Iterable, Optional, Sequence, TextIO

from twisted.python import usage

from ..broker.interface import BrokerError, Outcome
from ..failures.queue import FAILURES
from ..failures.reader import DeliveriesLost, FailuresQueueReader, Parked
from ..service.options import VumiOptions
from ..vumi.messages import format_vumi_date
from .connection import CannotConnect, connected_broker, count_messages
from .running import ask_yes_or_no, parse, run_command


class _Subcommand(usage.Options):
    """Options of one subcommand, with ids as its arguments."""

    synopsis = "[options] [ids]"

    def __init__(self) -> None:
        super().__init__()
        self["ids"] = ()

    def parseArgs(self, *ids: str) -> None:
        self["ids"] = ids


class ListOptions(_Subcommand):
    """List what is parked, or only the named ones."""

    optFlags = [["content", None, "Show the messages themselves too: they hold people's words and addresses"]]
    optParameters = [["limit", None, 0, "How many to read at the most; 0 is all"]]

    def postOptions(self) -> None:
        text = str(self["limit"])
        if not (text.isascii() and text.isdigit()):
            raise usage.UsageError(f"list: --limit must be a whole number, 0 or more, not {text!r}")
        self["limit"] = int(text)


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

    def getSynopsis(self) -> str:
        """With a subcommand, its own part is added by Twisted."""
        return self.synopsis.partition(" list|")[0] if self.subCommand else self.synopsis

    def postOptions(self) -> None:
        super().postOptions()
        if not self["connector"]:
            raise usage.UsageError("--connector is required: the connector_name of the worker's config")
        if self.subCommand is None:
            raise usage.UsageError("say what to do: list, replay or drop")


class Command:
    """
    One run of the command.

    :param reader: what it works on.
    :param out: gets what the user asked for.
    :param ask: asks the user a yes-or-no question.
    """

    def __init__(self, reader: FailuresQueueReader, out: TextIO, ask: Callable[[str], Awaitable[bool]]) -> None:
        self._reader = reader
        self._out = out
        self._ask = ask

    async def list(self, ids: Sequence[str], content: bool, limit: int) -> int:
        """Print a line for each parked message; the exit status."""
        shown: set[str] = set()
        count = 0

        async def show(parked: Parked) -> Outcome:
            nonlocal count
            if not ids or parked.id in ids:
                count += 1
                shown.add(parked.id)
                self._say(_line_of(parked))
                if content:
                    self._say("    " + json.dumps(parked.original))
            return Outcome.REQUEUE

        await self._reader.work(show, limit)
        self._say(f"{count} parked")
        return self._missing(ids, shown)

    async def replay(self, ids: Sequence[str]) -> int:
        """Replay the named ones, or all where ``ids`` is empty; the exit status."""
        found: set[str] = set()
        replayed = skipped = 0

        async def put_back(parked: Parked) -> Outcome:
            nonlocal replayed, skipped
            if ids and parked.id not in ids:
                return Outcome.REQUEUE
            found.add(parked.id)
            if parked.queue is None:
                skipped += 1
                self._say(f"{parked.id}: it does not say which queue it came from, so it stays")
                return Outcome.REQUEUE
            await self._reader.replay(parked)
            replayed += 1
            return Outcome.ACK

        try:
            await self._reader.work(put_back)
        finally:
            self._say(f"{replayed} replayed" + (f", {skipped} left" if skipped else ""))
        return max(self._missing(ids, found), 1 if skipped else 0)

    async def drop(self, ids: Sequence[str], yes: bool) -> int:
        """Drop the named ones, each after asking; the exit status."""
        found: set[str] = set()
        dropped = 0

        async def drop_one(parked: Parked) -> Outcome:
            nonlocal dropped
            if parked.id not in ids:
                return Outcome.REQUEUE
            found.add(parked.id)
            if not (yes or await self._ask(f"{_line_of(parked)}\nDrop it for ever? [y/N] ")):
                return Outcome.REQUEUE
            if not parked.delivery.lost:
                dropped += 1
            return Outcome.ACK

        try:
            await self._reader.work(drop_one)
        finally:
            self._say(f"{dropped} dropped")
        return self._missing(ids, found)

    def _missing(self, ids: Sequence[str], found: Collection[str]) -> int:
        missing = [name for name in ids if name not in found]
        if missing:
            self._say(f"not parked: {' '.join(missing)}")
        return 1 if missing else 0

    def _say(self, text: str) -> None:
        print(text, file=self._out)


def _line_of(parked: Parked) -> str:
    when = format_vumi_date(parked.when) if parked.when is not None else "-"
    return f"{parked.id}  {parked.queue or '-'}  {parked.code}  {when}  {parked.reason}"


async def run(reactor: Any, options: FailuresOptions, out: TextIO) -> int:
    """Connect, do what the options say, and disconnect; the exit status."""
    connector: str = options["connector"]
    try:
        waiting = await count_messages(reactor, options.vumi_options, f"{connector}.{FAILURES}")
        async with connected_broker(reactor, options.vumi_options) as broker:
            reader = FailuresQueueReader(broker, connector, reactor, waiting)
            return await _do(Command(reader, out, ask_yes_or_no), options)
    except (CannotConnect, ValueError) as error:
        print(error, file=sys.stderr)
    except DeliveriesLost as error:
        print(f"{error}: that one may be parked still, and so are those behind it", file=sys.stderr)
    except BrokerError as error:
        print(f"the broker did not take a message ({error}); it is still parked", file=sys.stderr)
    return 1


async def _do(command: Command, options: FailuresOptions) -> int:
    chosen = options.subOptions
    if options.subCommand == "list":
        return await command.list(chosen["ids"], chosen["content"], chosen["limit"])
    if options.subCommand == "replay":
        return await command.replay(chosen["ids"])
    return await command.drop(chosen["ids"], chosen["yes"])


def main(argv: Optional[Iterable[str]] = None) -> None:
    """The installed command ``vumi_turn_failures``."""
    options = FailuresOptions()
    parse(options, "vumi_turn_failures", argv)
    run_command(lambda reactor: run(reactor, options, sys.stdout))
