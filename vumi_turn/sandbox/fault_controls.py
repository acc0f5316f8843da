"""What can be broken in the sandbox, in one place: Turn, the phone network and the broker."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ..broker.interface import BrokerState
from ..broker.memory import MemoryBroker
from .faults import FaultsError, check_number, check_whole, from_json
from .phone_network.faults import NetworkFaults
from .phone_network.network import PhoneNetwork
from .turn_simulator.faults import TurnFaults
from .turn_simulator.rate_limit import RateLimit
from .turn_simulator.simulator import TurnSimulator


@dataclass(frozen=True)
class LimitSetting:
    """A rate limit as it is asked for: so many calls in so many seconds."""

    calls: int = 60
    window: float = 60.0

    def __post_init__(self) -> None:
        check_whole("calls", self.calls, 1, 100_000)
        check_number("window", self.window, 1, 3600)


class FaultControls:
    """
    Reads and changes the faults of all simulated parts.

    :param turn: None where Turn is the real one.
    :param network: None where a real transport is on the connector.
    :param broker: None where the broker is a real one.
    :param clock: for the rate limit.
    :param changed: called with all faults as JSON after each change.
    """

    def __init__(
        self,
        turn: Optional[TurnSimulator],
        network: Optional[PhoneNetwork],
        broker: Optional[MemoryBroker],
        clock: IReactorTime,
        changed: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._turn = turn
        self._network = network
        self._broker = broker
        self._clock = clock
        self._changed = changed

    def to_dict(self) -> dict[str, Any]:
        """The faults as JSON; None where the part is real, or is not there."""
        turn, network = self._turn, self._network
        return {
            "turn": None if turn is None else asdict(turn.api.plan.now),
            "turn_script": [] if turn is None else [asdict(one) for one in turn.api.plan.to_list()],
            "limit": self.limit(),
            "network": None if network is None else asdict(network.faults),
            "broker": None if self._broker is None else ("away" if self._is_away() else "up"),
        }

    def limit(self) -> Optional[dict[str, float]]:
        """The rate limit as it is now, as JSON; None where there is none."""
        limit = None if self._turn is None else self._turn.api.limit
        return None if limit is None else limit.to_dict()

    def set(self, change: Mapping[str, Any]) -> None:
        """
        Change the faults; all of it, or nothing where something is wrong.

        :param change: ``turn`` and ``network``: fields of their faults;
            ``turn_script``: a list of Turn's faults to come; ``limit``:
            ``calls`` in a ``window`` of seconds, None for no rate limit;
            ``broker``: ``up`` or ``away``.
        :raises FaultsError: what is wrong with it.
        """
        acts = [self._change_of(name, value) for name, value in change.items()]
        for act in acts:
            act()
        self._changed(self.to_dict())

    def reset(self) -> None:
        """Mend everything; the rate limit is Turn's usual one again."""
        change: dict[str, Any] = {}
        if self._turn is not None:
            change.update(turn={}, limit={})
        if self._network is not None:
            change["network"] = {}
        if self._broker is not None:
            change["broker"] = "up"
        self.set(change)

    def _change_of(self, name: str, value: Any) -> Callable[[], None]:
        """The change that a field asks for, checked and not yet made."""
        changes: dict[str, Callable[[str, Any], Callable[[], None]]] = {
            "turn": self._turn_change,
            "turn_script": self._script_change,
            "limit": self._limit_change,
            "network": self._network_change,
            "broker": self._broker_change,
        }
        if name not in changes:
            raise FaultsError(f"{name} cannot be broken; there is {', '.join(changes)}")
        return changes[name](name, value)

    def _simulated_turn(self) -> TurnSimulator:
        if self._turn is None:
            raise FaultsError("Turn is the real one: it cannot be broken from here")
        return self._turn

    def _turn_change(self, name: str, value: Any) -> Callable[[], None]:
        plan, faults = self._simulated_turn().api.plan, from_json(TurnFaults, value, name)
        return lambda: plan.set(faults)

    def _script_change(self, name: str, value: Any) -> Callable[[], None]:
        plan = self._simulated_turn().api.plan
        if not isinstance(value, list):
            raise FaultsError(f"{name} must be a list of faults")
        script = [from_json(TurnFaults, one, f"{name}[{n}]") for n, one in enumerate(value)]
        return lambda: plan.script(script)

    def _limit_change(self, name: str, value: Any) -> Callable[[], None]:
        api = self._simulated_turn().api
        limit = None if value is None else from_json(LimitSetting, value, name)

        def set_limit() -> None:
            api.limit = None if limit is None else RateLimit(self._clock, limit.calls, limit.window)

        return set_limit

    def _network_change(self, name: str, value: Any) -> Callable[[], None]:
        network = self._network
        if network is None:
            raise FaultsError("the phone network is a real one: it cannot be broken from here")
        faults = from_json(NetworkFaults, value, name)

        def set_faults() -> None:
            network.faults = faults

        return set_faults

    def _broker_change(self, name: str, value: Any) -> Callable[[], None]:
        broker = self._broker
        if broker is None:
            raise FaultsError("the broker is a real one: it cannot be sent away from here")
        if value not in ("up", "away"):
            raise FaultsError(f"{name} must be up or away")
        if value == "up":
            return broker.come_back
        return lambda: None if self._is_away() else broker.go_away()

    def _is_away(self) -> bool:
        return self._broker is not None and self._broker.state is BrokerState.CONNECTING
