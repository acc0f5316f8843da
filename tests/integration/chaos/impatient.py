"""
The worker, in less of a hurry to hold what RabbitMQ can hold: what would go
back to its queue after 20 minutes does so after some seconds.
"""

from __future__ import annotations

import os

from tests.integration.chaos.ledger import STAY
from vumi_turn.channel.worker import TurnChannelsApi
from vumi_turn.delivery import open_tasks

open_tasks.LONGEST_STAY = float(os.environ[STAY])
open_tasks.GRACE = open_tasks.LONGEST_STAY


class ImpatientTurnChannelsApi(TurnChannelsApi):
    """The same in all else."""
