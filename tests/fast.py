"""
Runs all tests that need no server: ``python -m tests.fast``. More arguments are passed on to trial.
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
    sys.argv = ["trial", *sys.argv[1:], *fast_tests()]
    trial.run()
