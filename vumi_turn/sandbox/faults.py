"""
Weather: how the simulated parts behave.

It comes as JSON from the page, from scripts and from tests, so each value is
checked, and what is wrong with it is said in a sentence.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Iterable, Optional, TypeVar

from twisted.internet.interfaces import IReactorTime

#: No delay is longer than this, in seconds.
MAX_DELAY = 120.0

W = TypeVar("W")


class FaultsError(ValueError):
    """There is no such weather; the text says what is wrong."""


def from_json(kind: type[W], value: Any, name: str) -> W:
    """
    Weather from JSON; fields that are not given have their defaults.

    :param kind: :class:`TurnWeather` or :class:`NetworkWeather`.
    :param name: what to call it in errors.
    :raises FaultsError: naming what is wrong.
    """
    if not isinstance(value, dict):
        raise FaultsError(f"{name} must be an object")
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise FaultsError(f"{name}.{key} is not known; there are {', '.join(known)}")
    try:
        return kind(**value)
    except FaultsError as error:
        raise FaultsError(f"{name}.{error}") from None


@dataclass(frozen=True)
class TurnFaults:
    """
    How Turn behaves.

    :ivar mode: ``up``; ``down`` cuts each connection; ``hang`` never answers;
        ``error`` answers ``status``; ``throttle`` answers 429 with
        ``retry_after``; ``liar`` takes what it got and then cuts.
    :ivar delay: seconds before each answer.
    :ivar status: what ``error`` answers.
    :ivar retry_after: seconds that ``throttle`` tells to wait.
    :ivar times: for how many requests; None is until it is changed.
    :ivar only: ``message`` or ``status``: the other kind has fair weather;
        None is both.
    """

    mode: str = "up"
    delay: float = 0.0
    status: int = 500
    retry_after: int = 10
    times: Optional[int] = None
    only: Optional[str] = None

    MODES: ClassVar[tuple[str, ...]] = ("up", "down", "hang", "error", "throttle", "liar")

    def __post_init__(self) -> None:
        _choice("mode", self.mode, self.MODES)
        _number("delay", self.delay, 0, MAX_DELAY)
        _whole("status", self.status, 300, 599)
        _whole("retry_after", self.retry_after, 0, 600)
        if self.times is not None:
            _whole("times", self.times, 1, 1_000_000)
        if self.only is not None:
            _choice("only", self.only, ("message", "status"))


@dataclass(frozen=True)
class NetworkFaults:
    """
    How the phone network behaves towards messages to people.

    :ivar mode: ``up``; ``nack`` refuses each message; ``fail`` takes it and
        reports that it was not delivered; ``late`` delivers after ``delay``.
    :ivar delay: seconds, for ``late``.
    """

    mode: str = "up"
    delay: float = 10.0

    MODES: ClassVar[tuple[str, ...]] = ("up", "nack", "fail", "late")

    def __post_init__(self) -> None:
        _choice("mode", self.mode, self.MODES)
        _number("delay", self.delay, 0, MAX_DELAY)


class Forecast:
    """
    Turn's weather of now, and of the requests to come.

    :ivar now: what holds when nothing is scripted.
    """

    def __init__(self) -> None:
        self.now = TurnFaults()
        self._script: deque[TurnFaults] = deque()

    def set(self, weather: TurnFaults) -> None:
        """Have this weather from now on, and forget what was scripted."""
        self.now = weather
        self._script.clear()

    def script(self, weathers: Iterable[TurnFaults]) -> None:
        """Have these one after another, each for its ``times`` (or one) requests, and fair weather then."""
        self.now = TurnFaults()
        self._script = deque(weather if weather.times else replace(weather, times=1) for weather in weathers)

    def next(self, kind: str) -> TurnFaults:
        """The weather of a request of a kind, which counts as one of its ``times``."""
        if self._script:
            weather = self._script[0]
            if not _concerns(weather, kind):
                return TurnFaults()
            rest = _after_one(weather)
            if rest is None:
                self._script.popleft()
            else:
                self._script[0] = rest
            return weather
        weather = self.now
        if not _concerns(weather, kind):
            return TurnFaults()
        if weather.times is not None:
            self.now = _after_one(weather) or TurnFaults()
        return weather

    def to_list(self) -> list[TurnFaults]:
        """The weathers that are scripted and still to come."""
        return list(self._script)


class RateLimit:
    """
    Turn's limit: so many calls in a window of so many seconds.

    :param clock: for the window.
    """

    def __init__(self, clock: IReactorTime, calls: int = 60, window: float = 60.0) -> None:
        self._clock = clock
        self.calls = calls
        self.window = window
        self._used = 0
        self._until = 0.0

    def take(self) -> tuple[bool, dict[str, str]]:
        """Count a call: whether it is within the limit, and the headers that say so."""
        now = self._clock.seconds()
        if now >= self._until:
            self._used, self._until = 0, now + self.window
        allowed = self._used < self.calls
        if allowed:
            self._used += 1
        headers = limit_headers(self.calls, self.calls - self._used, self._until)
        if not allowed:
            headers["Retry-After"] = str(max(1, int(self._until - now + 0.999)))
        return allowed, headers


def limit_headers(calls: int, remaining: int, reset: float) -> dict[str, str]:
    """The headers in which Turn speaks of its limit; ``reset`` is Unix seconds."""
    return {
        "X-Ratelimit-Limit": str(calls),
        "X-Ratelimit-Remaining": str(remaining),
        "X-Ratelimit-Reset": f"{reset:.3f}",
    }


def _concerns(weather: TurnFaults, kind: str) -> bool:
    return weather.only is None or weather.only == kind


def _after_one(weather: TurnFaults) -> Optional[TurnFaults]:
    """The same weather with one time less; None when that was the last."""
    assert weather.times is not None
    return replace(weather, times=weather.times - 1) if weather.times > 1 else None


def _choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise FaultsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def _number(name: str, value: object, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise FaultsError(f"{name} must be a number from {least:g} to {most:g}, not {value!r}")


def _whole(name: str, value: object, least: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise FaultsError(f"{name} must be a whole number from {least} to {most}, not {value!r}")
