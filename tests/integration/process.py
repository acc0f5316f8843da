"""Processes as a person starts them: twistd, the installed commands, and any other program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence, Union

import vumi_turn

#: Seconds that a start or a stop may take on a busy machine.
PATIENCE = 60.0

#: The installed commands, and the modules with their ``main``.
COMMANDS = {
    "vumi_turn_channel": "vumi_turn.commands.channel",
    "vumi_turn_failures": "vumi_turn.commands.failures",
    "vumi_turn_trace": "vumi_turn.commands.trace",
}

Output = Union[int, Any]


def twistd() -> list[str]:
    """The ``twistd`` of this interpreter, also where its script is not on PATH."""
    return script("twistd") or [sys.executable, "-c", "from twisted.scripts.twistd import run; run()"]


def installed(command: str) -> list[str]:
    """An installed command of ours, also where only the checkout is there."""
    return script(command) or [sys.executable, "-c", f"from {COMMANDS[command]} import main; main()"]


def script(name: str) -> list[str]:
    """A script beside this interpreter; empty where there is none."""
    path = Path(sys.executable).with_name(name)
    return [sys.executable, str(path)] if path.exists() else []


def environment(changes: Optional[Mapping[str, str]] = None) -> dict[str, str]:
    """Variables with which a subprocess finds this vumi_turn, be it a checkout or installed."""
    root = str(Path(vumi_turn.__file__).resolve().parent.parent)
    path = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part)
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(changes or {})}


def start_process(
    command: Sequence[str],
    *,
    folder: Union[str, Path, None] = None,
    variables: Optional[Mapping[str, str]] = None,
    environ: Optional[Mapping[str, str]] = None,
    stdin: Output = subprocess.DEVNULL,
    stdout: Output = subprocess.DEVNULL,
    stderr: Output = subprocess.DEVNULL,
    text: bool = True,
    **more: Any,
) -> subprocess.Popen[Any]:
    """
    Start a process that goes on until it is stopped (:func:`end_process`).

    :param folder: where it runs; the temporary folder where it is not given.
    :param variables: added to :func:`environment`.
    :param environ: the whole environment, in place of that.
    """
    return subprocess.Popen(
        list(command),
        cwd=folder or tempfile.gettempdir(),
        env=environment(variables) if environ is None else dict(environ),
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=text,
        **more,
    )


def end_process(process: subprocess.Popen[Any], how: signal.Signals = signal.SIGKILL) -> int:
    """Send a signal, and wait for the exit status: negative for a signal's number. One that does not end is killed."""
    if process.poll() is None:
        process.send_signal(how)
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"process {process.pid} did not end within {PATIENCE:g} s of {how.name}") from None


def run_process(
    command: Sequence[str],
    *,
    folder: Union[str, Path, None] = None,
    variables: Optional[Mapping[str, str]] = None,
    environ: Optional[Mapping[str, str]] = None,
    answer: str = "",
    stderr: Output = subprocess.PIPE,
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run a process that ends by itself; parameters as for :func:`start_process`, ``answer`` is its input."""
    process = start_process(
        command,
        folder=folder,
        variables=variables,
        environ=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    try:
        out, err = process.communicate(answer, timeout)
    finally:
        end_process(process)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def run_twistd(
    *arguments: str,
    folder: Union[str, Path, None] = None,
    timeout: float = PATIENCE,
    variables: Optional[Mapping[str, str]] = None,
) -> subprocess.CompletedProcess[str]:
    """Run a ``twistd`` command that ends by itself; its output is in ``stdout``, all of it."""
    return run_process(
        [*twistd(), *arguments], folder=folder, variables=variables, stderr=subprocess.STDOUT, timeout=timeout
    )
