"""The states of a broker, and the notification of those who observe them."""

from __future__ import annotations

import enum
from typing import Callable

from twisted.logger import Logger

log = Logger()


class BrokerState(str, enum.Enum):
    """
    How a broker's connections are. Members are texts, so that JSON and metrics show them as they are.

    ============  =======================================================
    CONNECTING    consuming or publishing does not work; being set up
    CONNECTED     consuming and publishing both work
    BLOCKED       consuming works; the broker takes no messages for now
    CLOSED        stopped
    ============  =======================================================

    A broker starts as CONNECTING, changes between the first three as the
    connections do, and is CLOSED from :meth:`Broker.stop` on.
    """

    CONNECTING = "connecting"
    CONNECTED = "connected"
    BLOCKED = "blocked"
    CLOSED = "closed"

    def __str__(self) -> str:
        return self.value

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)


#: Told of each new state of a broker.
StateObserver = Callable[[BrokerState], None]


class StateCell:
    """
    A broker's state, and who is told of it; for brokers only.

    :ivar current: the state.
    """

    def __init__(self) -> None:
        self.current = BrokerState.CONNECTING
        self._observers: list[StateObserver] = []

    def observe(self, observer: StateObserver) -> None:
        """Call ``observer`` with each new state."""
        self._observers.append(observer)

    def change(self, state: BrokerState) -> None:
        """Set the state. Observers' exceptions are logged; they never propagate into the broker."""
        if state is self.current:
            return
        self.current = state
        for observer in list(self._observers):
            try:
                observer(state)
            except Exception:  # an observer must not keep the connections from being made
                log.failure("An observer of the broker's state failed")
