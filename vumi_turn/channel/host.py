"""
What a process gives its channels: the registry of metrics, the traces, and a
place where Turn's POSTs and the questions of operators are answered.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol, Union

from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime, IStreamServerEndpoint
from twisted.web.resource import IResource

from ..caches.shared import ProcessCaches
from ..http.server import BoundedSite
from ..monitoring.health import ChannelHealth
from ..monitoring.management import Management
from ..turn.webhook import Webhook
from .process_bounds import ProcessBounds


class Listen(Protocol):
    """Listens until the worker has stopped: :meth:`vumi_turn.vumi.worker.BaseWorker.listen`."""

    async def __call__(self, endpoint: Union[str, IStreamServerEndpoint], factory: IProtocolFactory) -> IListeningPort:
        """Listen on an endpoint."""


class ChannelHost(Protocol):
    """
    What a channel's worker asks of its process.

    :ivar management: where its numbers, its messages' steps and its state are kept.
    :ivar caches: what the message caches of the process share.
    :ivar bounds: what its channels share beside that.
    """

    management: Management
    caches: ProcessCaches
    bounds: ProcessBounds

    async def serve(self, connector: str, webhook: Webhook, health: ChannelHealth) -> None:
        """Answer Turn's POSTs to a channel, and what operators ask of it."""

    def withdraw(self, connector: str) -> None:
        """A channel has stopped."""


class SingleHost:
    """
    The process of one channel.

    :param listen: the worker's.
    :param reactor: measures time.
    :param http_bind: where Turn's POSTs are taken.
    :param management_bind: where operators ask; None is ``http_bind`` too.
    :param max_request_size: bytes of a body.
    :param management: what is kept for operators.
    """

    def __init__(
        self,
        listen: Callable[..., Any],
        reactor: IReactorTime,
        *,
        http_bind: str,
        management_bind: Optional[str],
        max_request_size: int,
        management: Management,
    ) -> None:
        self.management = management
        self.caches = ProcessCaches()
        self.bounds = ProcessBounds()
        self._listen = listen
        self._reactor = reactor
        self._http_bind = http_bind
        self._management_bind = management_bind
        self._max_request_size = max_request_size

    async def serve(self, connector: str, webhook: Webhook, health: ChannelHealth) -> None:
        """Listen on ``http_bind``, and for operators there or on ``management_bind``."""
        management = self.management.resource(health, page=self._management_bind is not None)
        beside: dict[bytes, IResource] = {}
        if self._management_bind is None:
            beside = {b"/health": management, b"/live": management, b"/metrics": management}
        else:
            site = BoundedSite(management, self._reactor, self._max_request_size)
            await self._listen(self._management_bind, site)
        await self._listen(self._http_bind, webhook.site(beside))

    def withdraw(self, connector: str) -> None:
        """The worker closes its ports by itself."""
        self.management.stop()
