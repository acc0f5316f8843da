"""
What txamqp uses of Twisted. It had its last release in 2018; a Twisted that removes
one of these names breaks a test here, with a message that says so, and not a worker.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import warnings
from typing import Any, Iterator

import txamqp.client
import txamqp.protocol
import txamqp.queue
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.amqp.case import BrokerCase

#: txamqp's modules that we use and that use Twisted.
MODULES = (txamqp.client, txamqp.protocol, txamqp.queue)

#: What of them Twisted has deprecated, with what we would do without it: a txamqp of our own, or these names put back.
DEPRECATED = {"twisted.internet.defer.returnValue"}

#: What of them is private to Twisted.
PRIVATE = {"twisted.protocols.basic._PauseableMixin"}


def names_of(module: Any) -> Iterator[str]:
    """The dotted names that a module uses of Twisted."""
    tree = ast.parse(inspect.getsource(module))
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "twisted":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                aliases[alias.asname or alias.name] = name
                yield name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            name = f"{aliases[node.value.id]}.{node.attr}"
            if inspect.ismodule(_found(aliases[node.value.id])):
                yield name


def _found(name: str) -> Any:
    """What a dotted name means, None if there is nothing of that name."""
    try:
        return importlib.import_module(name)
    except ImportError:
        pass
    module, _, attribute = name.rpartition(".")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


class NameTests(SynchronousTestCase):
    """The names are there."""

    def test_all_are_there(self) -> None:
        """Each name that txamqp uses is in this Twisted."""
        names = {name for module in MODULES for name in names_of(module)}
        self.assertIn("twisted.internet.defer.inlineCallbacks", names)
        missing = sorted(name for name in names if _found(name) is None)
        self.assertEqual(missing, [], "this Twisted lacks names that txamqp uses: setup.py has to exclude it")

    def test_known_to_be_deprecated(self) -> None:
        """The deprecated and the private names are those that are listed here."""
        names = {name for module in MODULES for name in names_of(module)}
        self.assertLessEqual(DEPRECATED | PRIVATE, names)
        private = {name for name in names if name.rpartition(".")[2].startswith("_")}
        self.assertEqual(private, PRIVATE)


class UseTests(BrokerCase):
    """The names are used without a warning that is not known."""

    def test_a_life(self) -> None:
        """Connecting, consuming, publishing and closing cause no other deprecation warnings than those listed."""
        self.broker.publisher("c.outbound")
        self.up()
        self.consume()
        self.rabbit.consuming.deliver(b"1", 1)
        self.rabbit.consuming.cut()
        self.rabbit.advance()
        self.broker.stop()
        self.rabbit.advance()
        told = {each["message"] for each in self.flushWarnings() if issubclass(each["category"], DeprecationWarning)}
        unknown = sorted(text for text in told if not any(text.startswith(f"{name} was") for name in DEPRECATED))
        self.assertEqual(unknown, [], "Twisted has deprecated more of what txamqp uses")


class HelperTests(SynchronousTestCase):
    """The helpers of this module."""

    def test_found(self) -> None:
        """Modules and names are found, what is not there is not."""
        self.assertIs(_found("twisted.internet.task.Clock"), Clock)
        self.assertIs(_found("twisted.internet.defer.Deferred"), Deferred)
        self.assertIsNone(_found("twisted.internet.defer.gone"))
        self.assertIsNone(_found("twisted.gone.gone"))
