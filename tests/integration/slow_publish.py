"""The worker, which learns late that the broker has what it publishes to people."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.vumi.connectors import ReceiveInboundConnector
from vumi_turn.vumi.messages import TransportUserMessage

if "twisted.trial.runner" in sys.modules:
    raise ImportError("this changes classes of the package: only a worker's process may import it")

#: Seconds after the broker's confirmation.
SECONDS = 1.5

_publish = ReceiveInboundConnector.publish_outbound


async def _publish_slowly(self: ReceiveInboundConnector, message: TransportUserMessage, *args: Any, **kw: Any) -> None:
    await _publish(self, message, *args, **kw)
    await deferLater(reactor, SECONDS)


class SlowTurnChannelsApi(TurnChannelsApi):
    """The same in all else."""


ReceiveInboundConnector.publish_outbound = _publish_slowly  # type: ignore[method-assign, assignment]
