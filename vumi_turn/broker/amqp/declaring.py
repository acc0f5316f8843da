"""The queues that we publish to: declared with each connection, and again when one is missing."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from .client import Client
from .declare import PermissionLog, declare_queue
from .errors import ChannelRefused, ConnectionGone

log = Logger()


class QueueDeclarations:
    """
    Declares queues by name; those who want the same one at the same time share one declaration.

    :ivar arguments: the queues' arguments, by name; None for none.
    """

    def __init__(self) -> None:
        self.arguments: dict[str, Optional[dict[str, Any]]] = {}
        self._waiting: dict[str, list[Deferred[None]]] = {}
        self._refusals: dict[str, str] = {}
        self._permissions = PermissionLog()

    async def try_to_declare(self, client: Client, queue: str) -> None:
        """
        Declare, and go on where RabbitMQ refuses: ``mandatory`` tells whether messages arrive.

        :raises ConnectionGone: the connection is gone.
        """
        try:
            await self.declare(client, queue)
        except ChannelRefused as error:
            if self._refusals.get(queue) != str(error):
                self._refusals[queue] = str(error)
                log.error(
                    "RabbitMQ does not let us declare the queue {queue} that we publish to ({reason})",
                    queue=queue,
                    reason=str(error),
                )

    def declare(self, client: Optional[Client], queue: str) -> Deferred[None]:
        """
        Declare a queue.

        :return: fires when it is declared, or fails with :exc:`ChannelRefused` or :exc:`ConnectionGone`.
        """
        done: Deferred[None] = Deferred()
        waiting = self._waiting.setdefault(queue, [])
        waiting.append(done)
        if len(waiting) == 1:
            ensureDeferred(self._declare(client, queue)).addBoth(self._tell, queue)
        return done

    async def _declare(self, client: Optional[Client], queue: str) -> None:
        if client is None:
            raise ConnectionGone("there is no connection")
        refusals = await declare_queue(client, queue, self.arguments.get(queue))
        self._permissions.note(queue, refusals, queue=queue)
        self._refusals.pop(queue, None)

    def _tell(self, result: Any, queue: str) -> None:
        for waiting in self._waiting.pop(queue):
            waiting.callback(result)
