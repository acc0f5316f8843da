"""
What the delivery policy cannot move must not keep the connector's queues from
delivering other people's messages.

A window opens by as many as cannot move, to 1,000 more; the windows of all
channels of a process together open by no more than that, shared out fairly: a
channel on which little waits gets what it asks for, and the others get equal
parts of the rest.
"""

from __future__ import annotations

from twisted.logger import Logger

from ..broker.interface import MAX_ADDITIONAL
from ..timing.named_log import named
from ..vumi.connectors import ReceiveInboundConnector
from .deliveries import QUEUE_OF_KIND

log = Logger()


class ProcessWindows:
    """
    The windows of all channels of a process.

    :param limit: by how much they open together, for each kind of request.
    """

    def __init__(self, limit: int = MAX_ADDITIONAL) -> None:
        self._limit = limit
        self._kinds: dict[str, _Shares] = {}

    def wants(self, window: ConnectorWindow, kind: str, count: int) -> None:
        """
        A window should open by so many, or as near to it as its share allows.

        :param kind: ``message`` or ``status``.
        """
        shares = self._kinds.setdefault(kind, _Shares(self._limit))
        for each, granted in shares.want(window, count):
            each.open(kind, granted)

    def leave(self, window: ConnectorWindow) -> None:
        """A channel has gone: its share is the others'."""
        for kind, shares in self._kinds.items():
            for each, granted in shares.want(window, 0):
                if each is not window:
                    each.open(kind, granted)


class _Shares:
    """What the windows want of one kind, and have."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._wanted: dict[ConnectorWindow, int] = {}
        self._granted: dict[ConnectorWindow, int] = {}

    def want(self, window: ConnectorWindow, count: int) -> list[tuple[ConnectorWindow, int]]:
        """Note what a window wants; whose share changes by that, and what it is now."""
        if count > 0:
            self._wanted[window] = count
        else:
            self._wanted.pop(window, None)
        most = self._largest_share()
        shares = {each: min(wanted, most) for each, wanted in self._wanted.items()}
        before, self._granted = self._granted, shares
        changed = [(each, 0) for each in before if each not in shares]
        return changed + [(each, share) for each, share in shares.items() if before.get(each) != share]

    def _largest_share(self) -> int:
        """So many that the shares of all are within the limit, each of those being smaller that wants less."""
        left, wanting = self._limit, len(self._wanted)
        for wanted in sorted(self._wanted.values()):
            if wanted * wanting > left:
                return left // wanting
            left -= wanted
            wanting -= 1
        return self._limit


class ConnectorWindow:
    """
    Opens the windows of a connector's queues; the scheduler's :class:`~vumi_turn.delivery.Window`.

    :param connector: consumes the queues.
    :param windows: those of the process.
    """

    def __init__(self, connector: ReceiveInboundConnector, windows: ProcessWindows) -> None:
        self._connector = connector
        self._windows = windows
        self._log = named(log, connector.name)

    def blocked(self, kind: str, count: int) -> None:
        """See :class:`~vumi_turn.delivery.Window`."""
        self._windows.wants(self, kind, count)

    def open(self, kind: str, count: int) -> None:
        """Its share is so many. A boundary: one channel's window changes nothing for another's."""
        try:
            self._connector.allow_more(QUEUE_OF_KIND[kind], count)
        except Exception:
            self._log.failure("Opening the window failed")

    def leave(self) -> None:
        """Its channel has gone."""
        self._windows.leave(self)
