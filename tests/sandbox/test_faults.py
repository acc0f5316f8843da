"""Weather: what it may be, and for how long."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.sandbox.faults import FaultsError, Forecast, NetworkFaults, RateLimit, TurnFaults, from_json


class FromJsonTests(SynchronousTestCase):
    """Weather from JSON."""

    def test_defaults(self) -> None:
        """Fields that are not given are those of fair weather."""
        self.assertEqual(from_json(TurnFaults, {}, "turn"), TurnFaults())
        self.assertEqual(from_json(NetworkFaults, {"mode": "late"}, "network").delay, 10.0)

    def test_wrong_values(self) -> None:
        """Each wrong value is named, with what is expected."""
        for value, words in (
            ([], "turn must be an object"),
            ({"mood": "bad"}, "turn.mood is not known; there are mode, delay"),
            ({"mode": "sunny"}, "turn.mode must be one of up, down"),
            ({"mode": []}, "turn.mode must be one of up, down"),
            ({"delay": -1}, "turn.delay must be a number from 0 to 120, not -1"),
            ({"delay": "3"}, "turn.delay must be a number"),
            ({"delay": float("nan")}, "turn.delay must be a number"),
            ({"status": 200}, "turn.status must be a whole number from 300 to 599, not 200"),
            ({"status": True}, "turn.status must be a whole number"),
            ({"retry_after": 1.5}, "turn.retry_after must be a whole number"),
            ({"times": 0}, "turn.times must be a whole number from 1"),
            ({"only": "events"}, "turn.only must be one of message, status"),
        ):
            error = self.assertRaises(FaultsError, from_json, TurnFaults, value, "turn")
            self.assertIn(words, str(error))


class ForecastTests(SynchronousTestCase):
    """The weather of each request."""

    def setUp(self) -> None:
        self.forecast = Forecast()

    def modes(self, *kinds: str) -> list[str]:
        return [self.forecast.next(kind).mode for kind in kinds]

    def test_until_changed(self) -> None:
        """Weather without a number of times stays."""
        self.forecast.set(TurnFaults("down"))
        self.assertEqual(self.modes(*["message"] * 3), ["down"] * 3)

    def test_times(self) -> None:
        """Weather for two requests is over after two."""
        self.forecast.set(TurnFaults("down", times=2))
        self.assertEqual(self.modes(*["message"] * 3), ["down", "down", "up"])

    def test_only_one_kind(self) -> None:
        """Weather for statuses neither meets messages nor is used up by them."""
        self.forecast.set(TurnFaults("error", times=1, only="status"))
        self.assertEqual(self.modes("message", "status", "status"), ["up", "error", "up"])

    def test_script(self) -> None:
        """Scripted weathers come one after another, once each unless they say otherwise, and then it is fair."""
        self.forecast.set(TurnFaults("hang"))
        self.forecast.script([TurnFaults("error", times=2), TurnFaults("down")])
        self.assertEqual(len(self.forecast.to_list()), 2)
        self.assertEqual(self.modes(*["message"] * 4), ["error", "error", "down", "up"])
        self.assertEqual(self.forecast.to_list(), [])

    def test_script_for_one_kind(self) -> None:
        """A scripted weather waits for a request that it concerns."""
        self.forecast.script([TurnFaults("error", only="status"), TurnFaults("down")])
        self.assertEqual(self.modes("message", "status", "message"), ["up", "error", "down"])

    def test_setting_ends_a_script(self) -> None:
        """Weather that is set replaces what was scripted."""
        self.forecast.script([TurnFaults("down")])
        self.forecast.set(TurnFaults())
        self.assertEqual(self.modes("message"), ["up"])


class RateLimitTests(SynchronousTestCase):
    """Turn's limit of calls."""

    def test_window(self) -> None:
        """Calls beyond the limit are told how long to wait, and are allowed in the next window."""
        clock = Clock()
        clock.advance(1000)
        limit = RateLimit(clock, calls=2, window=60)
        self.assertEqual([limit.take()[0] for _ in range(2)], [True, True])
        clock.advance(20.5)
        allowed, headers = limit.take()
        self.assertFalse(allowed)
        self.assertEqual(
            headers,
            {
                "X-Ratelimit-Limit": "2",
                "X-Ratelimit-Remaining": "0",
                "X-Ratelimit-Reset": "1060.000",
                "Retry-After": "40",
            },
        )
        clock.advance(40)
        allowed, headers = limit.take()
        self.assertTrue(allowed)
        self.assertEqual(headers["X-Ratelimit-Remaining"], "1")
        self.assertNotIn("Retry-After", headers)
