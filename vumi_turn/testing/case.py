"""The test case, as legacy vumi's (vumi/tests/helpers.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase


class Helper(Protocol):
    """What :meth:`VumiTestCase.add_helper` takes."""

    def setup(self) -> Any:
        """Get ready."""

    def cleanup(self) -> Any:
        """Undo what was done; may give back a Deferred."""


H = TypeVar("H", bound=Helper)


class VumiTestCase(TestCase):
    """
    A trial TestCase that sets up and cleans up helpers.

    Tests may be ``async def``, or use ``inlineCallbacks``. One that waits for
    longer than :attr:`timeout` fails.
    """

    #: Real seconds for each test.
    timeout = 5.0

    def add_helper(self, helper: H) -> H:
        """
        Set a helper up, and clean it up after the test.

        :return: the helper.
        :raises TypeError: its set-up is asynchronous; those of this package are not.
        """
        self.addCleanup(helper.cleanup)
        if isinstance(helper.setup(), Deferred):
            raise TypeError(f"{type(helper).__name__}.setup must not give back a Deferred")
        return helper

    def add_cleanup(self, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        """Call a function after the test; trial's ``addCleanup``."""
        self.addCleanup(function, *args, **keywords)

    if TYPE_CHECKING:  # trial's own have no types
        # fmt: off
        def assertEqual(self, first: object, second: object, msg: object = None) -> None: ...
        def assertNotEqual(self, first: object, second: object, msg: object = None) -> None: ...
        def assertIs(self, first: object, second: object, msg: object = None) -> None: ...
        def assertIn(self, containee: object, container: Any, msg: object = None) -> None: ...
        def assertNotIn(self, containee: object, container: Any, msg: object = None) -> None: ...
        def assertTrue(self, condition: object, msg: object = None) -> None: ...
        def assertFalse(self, condition: object, msg: object = None) -> None: ...
        # fmt: on

    def assertEquals(self, first: object, second: object, msg: object = None) -> None:
        """``assertEqual``, as older tests call it."""
        self.assertEqual(first, second, msg)

    def assertNotEquals(self, first: object, second: object, msg: object = None) -> None:
        """``assertNotEqual``, as older tests call it."""
        self.assertNotEqual(first, second, msg)
