"""What there is to see of a channel, and how that is said in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Iterator, Mapping, Optional, Protocol

from ..broker.interface import Broker, BrokerState

#: From best to worst; pages have a colour for each.
GOOD, INFO, WARN, BAD = "good", "info", "warn", "bad"
SEVERITIES = (GOOD, INFO, WARN, BAD)

#: What the broker's states are called.
_BROKER_WORDS = {BrokerState.CONNECTING.value: "RabbitMQ away", BrokerState.CLOSED.value: "RabbitMQ is disconnected"}


@dataclass(frozen=True)
class Rates:
    """
    Messages a second, over the last minute.

    :ivar received: taken from the connector.
    :ivar delivered: accepted by Turn.
    :ivar published: of Turn's, confirmed by the broker.
    :ivar statuses: accepted by Turn.
    """

    received: float = 0.0
    delivered: float = 0.0
    published: float = 0.0
    statuses: float = 0.0


@dataclass(frozen=True)
class ChannelSnapshot:
    """
    How a channel is at one moment. All times are in seconds.

    :ivar connector: the channel's name.
    :ivar failure: why it could not be set up; empty where it was.
    :ivar stopping: it is about to end.
    :ivar standby: another worker consumes in its place.
    :ivar broker: the connections' state.
    :ivar broker_reason: why there are none.
    :ivar reconnects: how often they were lost.
    :ivar away_for: for how long Turn has been away; None while it is not.
    :ivar away_reason: what came of the last request.
    :ivar next_try: when the next probe is due.
    :ivar misconfigured: Turn does not let us in.
    :ivar throttled_for: for how long Turn wants no more requests.
    :ivar held: how many wait for Turn, or for another round, in this process.
    :ivar waiting: how many have no result yet, in this process.
    :ivar in_flight: POSTs that are under way.
    :ivar oldest: the age of the oldest message that has no result.
    :ivar unparked: how many should be in the failures queue, and could not be put there.
    :ivar park_error: why not.
    :ivar cache_healthy: False while the message cache is away.
    :ivar rates: how much happens.
    :ivar queues: how many messages are ready in each queue, by the part of its
        name after the connector's; empty while that is not known.
    """

    connector: str
    failure: str = ""
    stopping: bool = False
    standby: bool = False
    broker: str = BrokerState.CONNECTED.value
    broker_reason: str = ""
    reconnects: int = 0
    away_for: Optional[float] = None
    away_reason: str = ""
    next_try: Optional[float] = None
    misconfigured: bool = False
    throttled_for: float = 0.0
    held: int = 0
    waiting: int = 0
    in_flight: int = 0
    oldest: Optional[float] = None
    unparked: int = 0
    park_error: str = ""
    cache_healthy: bool = True
    rates: Rates = field(default_factory=Rates)
    queues: Mapping[str, int] = field(default_factory=dict)

    @property
    def wait_for_turn(self) -> int:
        """How many messages and events wait: those in hand, and those still in their queues."""
        return self.held + self.queues.get("inbound", 0) + self.queues.get("event", 0)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: everything here, ``remarks``, and ``state``, the worst kind among them."""
        remarks = remarks_of(self)
        shown = {name: _rounded(value) for name, value in asdict(self).items()}
        shown["rates"] = {name: _rounded(value) for name, value in asdict(self.rates).items()}
        return {**shown, "state": worst(remarks), "remarks": [asdict(remark) for remark in remarks]}


def _rounded(value: Any) -> Any:
    return round(value, 2) if isinstance(value, float) else value


@dataclass(frozen=True)
class Remark:
    """
    One thing that there is to say of a channel.

    :ivar kind: one of :data:`SEVERITIES`.
    :ivar text: the same in words.
    """

    kind: str
    text: str


class ChannelView(Protocol):
    """
    One channel, as those see it who look after it.

    :ivar connector: its name.
    :ivar broker: where its queues are.
    """

    @property
    def connector(self) -> str:
        """Its name."""

    @property
    def broker(self) -> Broker:
        """Where its queues are."""

    def snapshot(self) -> ChannelSnapshot:
        """How it is now."""


class ChannelViews:
    """The channels of a process, in the order in which they came."""

    def __init__(self) -> None:
        self._views: dict[str, Optional[ChannelView]] = {}
        self._failures: dict[str, str] = {}

    def add(self, view: ChannelView) -> None:
        """A channel works."""
        self._views[view.connector] = view
        self._failures.pop(view.connector, None)

    def failed(self, connector: str, reason: str) -> None:
        """A channel cannot be set up, for a reason."""
        self._views[connector] = None
        self._failures[connector] = reason

    def remove(self, connector: str) -> None:
        """A channel has gone."""
        self._views.pop(connector, None)
        self._failures.pop(connector, None)

    def __iter__(self) -> Iterator[ChannelView]:
        """The channels that work."""
        return iter([view for view in self._views.values() if view is not None])

    def get(self, connector: str) -> Optional[ChannelView]:
        """A channel that works, by its name."""
        return self._views.get(connector)

    def __contains__(self, connector: object) -> bool:
        return connector in self._views

    def snapshot(self, connector: str) -> Optional[ChannelSnapshot]:
        """How a channel is now; None where there is none of that name."""
        if connector not in self._views:
            return None
        view = self._views[connector]
        return ChannelSnapshot(connector, failure=self._failures[connector]) if view is None else view.snapshot()

    def snapshots(self) -> list[ChannelSnapshot]:
        """How all channels are now."""
        found = (self.snapshot(connector) for connector in list(self._views))
        return [snapshot for snapshot in found if snapshot is not None]


# -- in words ----------------------------------------------------------------


def remarks_of(channel: ChannelSnapshot) -> list[Remark]:
    """What there is to say of a channel, the worst first; never nothing."""
    if channel.failure:
        return [Remark(BAD, f"Not set up: {channel.failure}")]
    found = [Remark(WARN, "Stopping")] if channel.stopping else []
    found += _broker_remarks(channel)
    found += _turn_remarks(channel)
    if channel.unparked:
        why = f": {channel.park_error}" if channel.park_error else ""
        found.append(Remark(BAD, f"Cannot park {_messages(channel.unparked)}{why}"))
    if not channel.cache_healthy:
        found.append(Remark(WARN, "Message cache away: replies may not be linked to what they answer"))
    if channel.standby:
        found.append(Remark(INFO, "Standby: another worker consumes"))
    found.sort(key=lambda remark: SEVERITIES.index(remark.kind), reverse=True)
    return found or [Remark(GOOD, "All well")]


def _broker_remarks(channel: ChannelSnapshot) -> list[Remark]:
    if channel.broker == BrokerState.CONNECTED.value or channel.stopping:
        return []
    if channel.broker == BrokerState.BLOCKED.value:
        return [Remark(WARN, "RabbitMQ takes no messages now (an alarm): Turn's POSTs are answered 503")]
    reason = f": {channel.broker_reason}" if channel.broker_reason else ""
    return [Remark(BAD, _BROKER_WORDS.get(channel.broker, "RabbitMQ away") + reason)]


def _turn_remarks(channel: ChannelSnapshot) -> list[Remark]:
    reason = f" ({channel.away_reason})" if channel.away_reason else ""
    found: list[Remark] = []
    if channel.away_for is not None:
        what = f"Turn refuses the token or the URL{reason}" if channel.misconfigured else f"Turn away{reason}"
        parts = [f"{what} for {duration(channel.away_for)}"]
        if channel.wait_for_turn:
            parts.append(f"{channel.wait_for_turn} wait")
        if channel.next_try is not None:
            soon = duration(channel.next_try)
            parts.append("next try now" if soon == "0 s" else f"next try in {soon}")
        found.append(Remark(BAD, ", ".join(parts)))
    elif channel.misconfigured:
        found.append(Remark(BAD, f"Turn refuses the token or the URL{reason}"))
    elif channel.held:
        verb = "waits" if channel.held == 1 else "wait"
        found.append(Remark(WARN, f"{_messages(channel.held)} {verb} for another round, while Turn accepts others"))
    if channel.throttled_for > 0:
        found.append(Remark(WARN, f"Rate limited for {duration(channel.throttled_for)}"))
    return found


def worst(remarks: list[Remark]) -> str:
    """The worst kind among remarks."""
    return max((remark.kind for remark in remarks), key=SEVERITIES.index)


def _messages(count: int) -> str:
    return "1 message" if count == 1 else f"{count} messages"


def duration(seconds: float) -> str:
    """A span of time for people: ``8 s``, ``3 min``, ``2 h``, ``4 d``."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return f"{whole // 3600} h"
    return f"{whole // 86400} d"
