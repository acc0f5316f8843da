"""
What a process of twistd's owes to those who started it: an exit status, no
stale file with its id, and an answer to signals.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any, Callable, MutableMapping, Optional

from twisted.logger import Logger

log = Logger()


class TwistdProcess:
    """
    This process, as twistd has set it up.

    As a daemon its parent waits until it is told that the start has worked, and
    ends with the exit status that goes with it. twistd tells it as soon as the
    services are started; :meth:`starting` takes that over.

    :param options: twistd's own; None outside twistd.
    """

    def __init__(self, options: Optional[MutableMapping[str, Any]]) -> None:
        self._options = options
        self._pipe: Optional[int] = None

    def starting(self) -> None:
        """The start is not done when the services are started: :meth:`started` or :meth:`failed` says so."""
        if self._options is not None:
            self._pipe = self._options.get("statusPipe")
            self._options["statusPipe"] = None

    def started(self) -> None:
        """The start has worked."""
        self._report(b"0")

    def failed(self) -> None:
        """The start has not worked: the waiting parent ends with 1, and the file with the process's id goes."""
        self._report(b"1 the start failed")
        path = self._options.get("pidfile") if self._options is not None else None
        if path:
            try:
                os.unlink(path)
            except OSError as error:
                log.warn("{path} cannot be removed: {reason}", path=path, reason=error.strerror)

    def _report(self, status: bytes) -> None:
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            os.write(pipe, status)
            os.close(pipe)


def end_with_failure(reactor: Any, process: Optional[TwistdProcess] = None, status: int = 1) -> None:
    """
    Stop the reactor in order, and end the process with an exit status of failure.

    :param process: told that its start has failed.
    """

    def end() -> None:
        if process is not None:
            process.failed()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)

    reactor.addSystemEventTrigger("after", "shutdown", end)
    # A set-up may fail before the reactor runs; then it is stopped in its first turn.
    reactor.callLater(0, reactor.stop)


def on_signal(number: signal.Signals, reactor: Any, call: Callable[[], None]) -> None:
    """
    Call something in the reactor's thread whenever a signal arrives.

    :param number: which one.
    :param reactor: runs in the main thread.
    """

    def arrived(_number: int, _frame: Optional[FrameType]) -> None:
        reactor.callFromThread(call)

    signal.signal(number, arrived)
