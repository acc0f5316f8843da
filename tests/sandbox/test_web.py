"""Who may ask the sandbox's servers for anything."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.sandbox.http import MemoryHttp
from vumi_turn.sandbox.web import as_json, is_loopback, json_app


class GuardTests(SynchronousTestCase):
    """A page of another site has no say here."""

    def ask(self, host: str, bound: str) -> int:
        app = json_app()

        @app.route("/")
        def root(request: Any) -> bytes:
            return as_json(request, {})

        http = MemoryHttp(self, app, bound)
        return http.call("GET", "/", headers={"Host": host})[0]

    def test_names_of_this_machine(self) -> None:
        """On a loopback address it answers to this machine's own names only; elsewhere to any."""
        for host, status in (
            ("127.0.0.1:8010", 200),
            ("localhost:8010", 200),
            ("[::1]:8010", 200),
            ("127.0.0.2", 200),
            ("evil.example", 403),
            ("127.0.0.1.evil.example:8010", 403),
            ("[", 403),
        ):
            with case(host=host, status=status):
                self.assertEqual(self.ask(host, "127.0.0.1"), status)
        self.assertEqual(self.ask("box.example:8010", "0.0.0.0"), 200)

    def test_loopback(self) -> None:
        """Which addresses are reached from this machine only."""
        self.assertTrue(all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.9.9.9"))))
        self.assertFalse(any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", ""))))
