"""
``vumi_turn_trace``: what became of a message, or of all of a person's, as one
process or several of them remember it.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timezone
from typing import Any, Iterable, Mapping, Optional, Sequence, TextIO
from urllib.parse import quote

from twisted.python import usage

from ..configuration.fields import ConfigError, ConfigUrl
from ..service.logs import printable
from .http import HttpClient, NoAnswer, Reply
from .running import parse, run_command

#: Where a worker's page is, unless the flags say so.
DEFAULT_URL = "http://127.0.0.1:8090"

#: Bytes of an answer: 1,000 messages with all their steps.
MAX_ANSWER = 16 * 1024 * 1024

#: Seconds for each process to answer.
TIMEOUT = 10.0

#: What is an address rather than a message's id, unless the flags say so.
_ADDRESS = re.compile(r"\s*\+?[0-9][0-9 ()-]{3,18}[0-9]\s*")

#: What is known of a message, as the page's API has it.
Trace = dict[str, Any]


class TraceOptions(usage.Options):
    """The flags."""

    synopsis = "Usage: vumi_turn_trace [options] ID|ADDRESS"
    longdesc = "Asks the operator's page of one worker or several what became of a message, or of all of a person's."
    optFlags = [
        ["json", None, "Print JSON: an object a line for each message"],
        ["address", None, "It is a person's address, though it does not look like a telephone number"],
        ["id", None, "It is a message's id, though it looks like a telephone number"],
    ]

    def __init__(self) -> None:
        super().__init__()
        self["urls"] = []

    def opt_url(self, url: str) -> None:
        """A worker's management_bind, such as http://127.0.0.1:8090; repeatable"""
        field = ConfigUrl("")
        field.name = "--url"
        try:
            self["urls"].append(field.clean(url).rstrip("/"))
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    def parseArgs(self, *asked: str) -> None:
        """One argument."""
        if len(asked) != 1 or not asked[0].strip():
            raise usage.UsageError("say one message id or one address")
        self["asked"] = asked[0].strip()

    def postOptions(self) -> None:
        """What is not said."""
        if self["address"] and self["id"]:
            raise usage.UsageError("say --address or --id, not both")
        self["urls"] = list(dict.fromkeys(self["urls"])) or [DEFAULT_URL]

    @property
    def is_address(self) -> bool:
        """Whether a person's messages are asked for."""
        return bool(self["address"]) or (not self["id"] and _ADDRESS.fullmatch(self["asked"]) is not None)


class ProcessError(Exception):
    """A process did not answer, or not as the page's API does; the text is for people."""


async def ask(client: HttpClient, url: str, asked: str, is_address: bool) -> list[Trace]:
    """
    What one process remembers.

    :param url: its page's.
    :param asked: a message's id, or an address, which travels in the body.
    :raises ProcessError: it did not answer, or not as it should.
    """
    try:
        if is_address:
            reply = await client.post(f"{url}/api/traces", None, {"address": asked, "limit": 1000})
        else:
            reply = await client.get(f"{url}/api/traces/{quote(asked, safe='')}")
    except NoAnswer as error:
        raise ProcessError(f"{url}: {error}") from None
    return _traces_in(url, reply)


def _traces_in(url: str, reply: Reply) -> list[Trace]:
    try:
        found = reply.json()
    except ValueError:
        found = None
    if reply.status != 200:
        why = reply.words("") or "is this a worker's management_bind?"
        raise ProcessError(f"{url}: it answered {reply.status}: {why}")
    traces = found.get("traces") if isinstance(found, dict) else None
    if not isinstance(traces, list) or not all(isinstance(one, dict) and _has_steps(one) for one in traces):
        raise ProcessError(f"{url}: this is not the page of a vumi_turn worker")
    return traces


def _has_steps(trace: Trace) -> bool:
    steps = trace.get("steps")
    return isinstance(steps, list) and all(
        isinstance(step, dict) and isinstance(step.get("at"), (int, float)) for step in steps
    )


def merged(found: Mapping[str, Sequence[Trace]]) -> list[Trace]:
    """
    One trace for each message, its steps by time.

    :param found: what each process remembers, by its URL, which each step
        names (``process``) where there are several.
    :return: by the time of their first steps.
    """
    traces: dict[tuple[str, str], Trace] = {}
    for url, each in found.items():
        for trace in each:
            key = str(trace.get("connector")), str(trace.get("id"))
            steps = [{**step, "process": url} if len(found) > 1 else dict(step) for step in trace["steps"]]
            known = traces.get(key)
            if known is None:
                traces[key] = {**trace, "steps": steps}
                continue
            known["steps"] += steps
            known["left_out"] = (known.get("left_out") or 0) + (trace.get("left_out") or 0)
            known["person"] = known.get("person") or trace.get("person")
    for trace in traces.values():
        trace["steps"].sort(key=lambda step: step["at"])
    return sorted(traces.values(), key=lambda trace: trace["steps"][0]["at"] if trace["steps"] else 0.0)


# -- what is printed ---------------------------------------------------------


def lines_of(trace: Trace) -> list[str]:
    """A message's trace for people."""
    way = "from a person" if trace.get("direction") == "inbound" else "from Turn"
    person = f", person {trace['person']}" if trace.get("person") else ""
    lines = [f"{trace.get('id')}  {trace.get('connector')}  {way}{person}"]
    for step in trace["steps"]:
        process = f"  [{step['process']}]" if "process" in step else ""
        lines.append(f"    {_moment(step['at'])}  {sentence_of(step)}{process}")
        if step.get("words"):
            lines.append(f"        Turn says: {step['words']}")
    if trace.get("left_out"):
        lines.append(f"    {trace['left_out']} steps are left out")
    return [printable(line) for line in lines]


def sentence_of(step: Mapping[str, Any]) -> str:
    """One step in words."""
    of = " (status)" if step.get("kind") == "status" else ""
    if step.get("step") == "tried":
        return f"tried{of}: {step.get('answer')}, {step.get('verdict')}, {step.get('ms')} ms"
    tries = step.get("tries")
    told = [] if tries is None else ["1 try" if tries == 1 else f"{tries} tries"]
    told += [] if step.get("ms") is None else [f"{step['ms']} ms"]
    return f"{step.get('step')}{of}" + (f" after {', '.join(told)}" if told else "")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


async def run(
    reactor: Any, options: TraceOptions, out: TextIO, err: TextIO, client: Optional[HttpClient] = None
) -> int:
    """
    Ask every process, and print what they remember.

    :return: the exit status: 0 where something was found, and all have answered.
    """
    client = client or HttpClient(reactor, timeout=TIMEOUT, who="it", max_answer=MAX_ANSWER)
    found: dict[str, list[Trace]] = {}
    silent = 0
    for url in options["urls"]:
        try:
            found[url] = await ask(client, url, options["asked"], options.is_address)
        except ProcessError as error:
            silent += 1
            print(printable(str(error)), file=err)
    traces = merged(found) if silent < len(options["urls"]) else []
    for trace in traces:
        print(json.dumps(trace) if options["json"] else "\n".join(lines_of(trace)), file=out)
    if not traces and found:
        print(
            "nothing is known of it: it is not among the latest messages, or came before the worker's start", file=err
        )
    return 1 if silent or not traces else 0


def main(argv: Optional[Iterable[str]] = None) -> None:
    """The installed command ``vumi_turn_trace``."""
    options = TraceOptions()
    parse(options, "vumi_turn_trace", argv)
    run_command(lambda reactor: run(reactor, options, sys.stdout, sys.stderr))
