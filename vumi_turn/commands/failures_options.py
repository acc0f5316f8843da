"""The flags of ``vumi_turn_failures``."""

from __future__ import annotations

import re
from typing import Any, Optional

from twisted.python import usage

from ..failures.parked import Selection
from ..failures.queue import FAILURES
from ..service.options import VumiOptions
from ..vumi.failed_messages import FAILURES_OF_APPLICATION

#: Seconds of each unit of an age.
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class _Subcommand(usage.Options):
    """Flags of one subcommand: which messages, by their ids or by what they have."""

    synopsis = "[options] [ids]"
    name = ""
    optParameters: list[list[Any]] = [
        ["reason", None, None, "Only those whose reason contains this text"],
        ["person", None, None, "Only those of the person with this address"],
        ["older-than", None, None, "Only those parked at least so long ago: 90, 15m, 2h, 3d"],
        ["newer-than", None, None, "Only those parked at most so long ago"],
        ["status", None, None, "Only those whose last answer from Turn had this HTTP status; none for those without"],
    ]
    optFlags: list[list[Any]] = [["json", None, "Print JSON: an object a line"]]

    def __init__(self) -> None:
        super().__init__()
        self["ids"] = ()

    def parseArgs(self, *ids: str) -> None:
        """The arguments are ids."""
        self["ids"] = ids

    def postOptions(self) -> None:
        """Read the filters."""
        self.selection = Selection(
            ids=self["ids"],
            reason=self["reason"],
            person=self["person"],
            older_than=self._age("older-than"),
            newer_than=self._age("newer-than"),
            status=self._status(),
        )

    @property
    def chosen(self) -> bool:
        """Whether anything says which messages are meant."""
        return self.selection != Selection()

    def _age(self, flag: str) -> Optional[float]:
        text = self[flag]
        if text is None:
            return None
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)", text)
        if found is None:
            raise usage.UsageError(f"{self.name}: --{flag} must be an age like 90, 15m, 2h or 3d, not {text!r}")
        return float(found[1]) * UNITS[found[2]]

    def _status(self) -> Optional[int]:
        text = self["status"]
        if text is None or text == "none":
            return None if text is None else 0
        if not re.fullmatch(r"[1-5][0-9][0-9]", text):
            raise usage.UsageError(f"{self.name}: --status must be an HTTP status like 500, or none, not {text!r}")
        return int(text)


class ListOptions(_Subcommand):
    """List what is parked, or only the chosen ones."""

    name = "list"
    optFlags = [["content", None, "Show the messages themselves too: they hold people's words and addresses"]]
    optParameters = [["limit", None, 0, "How many to read at the most; 0 is all"]]

    def postOptions(self) -> None:
        super().postOptions()
        text = str(self["limit"])
        if not (text.isascii() and text.isdigit()):
            raise usage.UsageError(f"list: --limit must be a whole number, 0 or more, not {text!r}")
        self["limit"] = int(text)


class ReplayOptions(_Subcommand):
    """Put parked messages back into the queue that they came from."""

    name = "replay"
    optFlags = [["all", None, "All that are parked"]]

    def postOptions(self) -> None:
        super().postOptions()
        if bool(self["all"]) == self.chosen:
            raise usage.UsageError(f"{self.name}: name the ids to {self.name}, or choose by a filter, or say --all")


class DropOptions(ReplayOptions):
    """Throw parked messages away, after asking."""

    name = "drop"
    optFlags = [["yes", None, "Don't ask"]]


class FailuresOptions(VumiOptions):
    """The worker's AMQP flags, the connectors, and what to do."""

    synopsis = "Usage: vumi_turn_failures [options] --connector NAME|--config FILE list|replay|drop [ids]"
    longdesc = "Lists, replays or drops the messages that Turn could not be handed, or that an application failed on."
    optParameters = [
        ["connector", "c", None, "The connector's name (connector_name of the worker's config)"],
        ["config", None, None, "A worker's YAML file, for all connectors in it"],
        [
            "queue",
            None,
            FAILURES,
            f"What follows the connector's name in the queue's name: {FAILURES}, or {FAILURES_OF_APPLICATION}",
        ],
    ]
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
        if bool(self["connector"]) == bool(self["config"]):
            raise usage.UsageError(
                "say --connector, the connector_name of the worker's config, or --config, the worker's file"
            )
        if self["queue"] not in (FAILURES, FAILURES_OF_APPLICATION):
            raise usage.UsageError(f"--queue must be {FAILURES} or {FAILURES_OF_APPLICATION}, not {self['queue']!r}")
        if self.subCommand is None:
            raise usage.UsageError("say what to do: list, replay or drop")
