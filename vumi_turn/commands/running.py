"""How the installed commands start, ask, and end."""

from __future__ import annotations

import os
import sys
from typing import Any, Awaitable, Callable, Iterable, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.python import usage


def parse(options: usage.Options, command: str, argv: Optional[Iterable[str]] = None) -> None:
    """
    Read the command line; a wrong one ends the process with exit status 2.

    :param options: get what was read.
    :param command: the command's name, for the error's line.
    :param argv: the arguments; the process's own where they are not given.
    :raises SystemExit: with status 2.
    """
    try:
        options.parseOptions(list(argv) if argv is not None else sys.argv[1:])
    except usage.UsageError as error:
        print(f"{options.getSynopsis()}\n{command}: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def run_command(run: Callable[[Any], Awaitable[int]]) -> None:
    """
    Run the reactor until a command is done, and end the process with its exit
    status. Whoever interrupts it cancels the command, which then tidies up.

    :param run: given the reactor, does everything; its result is the exit status.
    :raises SystemExit: always.
    """
    from twisted.internet import reactor
    from twisted.internet.task import react

    def start(_reactor: Any) -> Deferred[None]:
        done: Deferred[None] = ensureDeferred(exit_with(run(_reactor)))
        _reactor.addSystemEventTrigger("before", "shutdown", done.cancel)
        return done

    react(start, (), reactor)


async def exit_with(status: Awaitable[int]) -> None:
    """
    Wait for a command's exit status, and end with it. Where nobody reads its
    output any more (``… list | head -1``) it ends with 1, and in silence.

    :raises SystemExit: with a status other than 0.
    """
    try:
        code = await status
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes it once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    if code:
        raise SystemExit(code)


async def ask_yes_or_no(question: str) -> bool:
    """
    Ask on the terminal, in a thread: the connection needs its heartbeats meanwhile.

    :return: whether the answer is yes; False where there is nobody to answer.
    """
    try:
        answer: str = await deferToThread(input, question)
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")
