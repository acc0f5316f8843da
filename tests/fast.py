"""
Runs all tests that need no server: ``python -m tests.fast``, in two processes, or in this one with ``--one-process``
(for a debugger, or to measure coverage). More arguments are passed on to trial.
"""

from __future__ import annotations

import pkgutil
import sys

from twisted.scripts import trial

import tests


def fast_tests() -> list[str]:
    """The names of all packages and modules of tests but the integration tests, for trial."""
    found = [module for module in pkgutil.iter_modules(tests.__path__) if module.name != "integration"]
    return [f"tests.{module.name}" for module in found if module.ispkg or module.name.startswith("test_")]


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if "--one-process" in arguments:
        arguments.remove("--one-process")
    else:
        arguments.insert(0, "--jobs=2")
    sys.argv = ["trial", *arguments, *fast_tests()]
    trial.run()
