"""
A wall clock of a process's own, which a test sets while the process runs.

Python imports ``sitecustomize`` before anything else, so whatever the process
takes from ``time`` and ``datetime`` is of this clock. The monotonic clock and
the machine's clock are left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Mapping

from tests.integration import process_clock
from tests.integration.process import environment

SITECUSTOMIZE = "from process_clock import replace_wall_clock; replace_wall_clock()\n"


class WallClock:
    """The clock of processes that are started with :attr:`variables`; right until it is set."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vumi_turn_clock_"))
        # A copy: in its own folder it would bring its neighbours' names with it.
        shutil.copy(process_clock.__file__, self._folder / "process_clock.py")
        (self._folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        self._file = self._folder / "offset"
        self._file.write_text("0")

    @property
    def variables(self) -> Mapping[str, str]:
        """For the environment of a process."""
        path = os.pathsep.join([str(self._folder), environment()["PYTHONPATH"]])
        return {"PYTHONPATH": path, process_clock.OFFSET_FILE: str(self._file)}

    def set_by(self, seconds: float) -> None:
        """
        Set the clock.

        :param seconds: by how much, from where it is; negative to set it back.
        """
        written = self._file.with_name("next")
        written.write_text(str(float(self._file.read_text()) + seconds))
        written.replace(self._file)

    def close(self) -> None:
        """Remove its folder."""
        shutil.rmtree(self._folder, ignore_errors=True)
