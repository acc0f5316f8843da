"""What the delivery policy cannot move must not keep the connector's queues from delivering other people's messages."""

from __future__ import annotations

from ..vumi.connectors import ReceiveInboundConnector
from .deliveries import QUEUE_OF_KIND


class ConnectorWindow:
    """
    Opens the windows of a connector's queues; the scheduler's :class:`~vumi_turn.delivery.Window`.

    :param connector: consumes the queues.
    """

    def __init__(self, connector: ReceiveInboundConnector) -> None:
        self._connector = connector

    def blocked(self, kind: str, count: int) -> None:
        self._connector.allow_more(QUEUE_OF_KIND[kind], count)
