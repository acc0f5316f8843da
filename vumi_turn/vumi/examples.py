"""
A worker to begin with::

    twistd -n vumi_worker --worker-class vumi_turn.vumi.examples.EchoWorker --set-option connector_name:demo
"""

from __future__ import annotations

from .application import ApplicationWorker
from .messages import TransportUserMessage


class EchoWorker(ApplicationWorker):
    """Answers every message with its own words."""

    async def consume_user_message(self, message: TransportUserMessage) -> None:
        await self.reply_to(message, message.content or "Hello!")
