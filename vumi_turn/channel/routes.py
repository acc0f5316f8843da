"""Which channel of a process answers a request."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from ..http.errors import ApiError, MethodNotAllowed, NotFound
from ..http.responses import respond_error
from ..timing.limited_log import RateLimitedLogger
from ..turn.errors import BrokerUnavailableError

log = Logger()

#: Runs of digits in a path that may be somebody's address.
_ADDRESS = re.compile(r"[0-9]{5,}")


class ChannelRoutes(Resource):
    """
    Resources by their exact paths, which come and go.

    :param clock: bounds the log lines about POSTs that no channel takes.
    """

    isLeaf = True

    def __init__(self, clock: IReactorTime) -> None:
        super().__init__()
        self._resources: dict[bytes, Any] = {}
        self._lost = RateLimitedLogger(log, clock, lines=1)

    def put(self, path: bytes, resource: IResource) -> None:
        """Answer a path, such as ``b"/health"``, with a resource."""
        self._resources[path] = resource

    def reserve(self, path: bytes) -> None:
        """Answer POSTs to a path with 503, because a channel will be there soon: Turn gives up on a 404."""
        self._resources[path] = NotReady()

    def drop(self, path: bytes) -> None:
        """Answer a path with 404 again."""
        self._resources.pop(path, None)

    def render(self, request: Request) -> Any:
        """As :meth:`twisted.web.resource.IResource.render`."""
        resource = self._resources.get(request.path)
        if resource is not None:
            return resource.render(request)
        if request.method == b"POST":
            path = _ADDRESS.sub("…", request.path.decode("ascii", "backslashreplace")[:80])
            self._lost.emit(
                LogLevel.warn,
                "A POST to {path}, which is no channel's path, was answered 404; check vumi_api_path",
                path=path,
            )
        return respond_error(request, NotFound())

    def refused(self, error: ApiError) -> None:
        """A request was refused before it was known whom it was for."""
        self._lost.emit(
            LogLevel.warn,
            "A request was answered {status} {title}: {details}",
            status=error.status,
            title=error.title,
            details=error.details,
        )


class NotReady(Resource):
    """Stands for a channel that is not set up, or not again."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        """As :meth:`twisted.web.resource.IResource.render`."""
        if request.method != b"POST":
            return respond_error(request, MethodNotAllowed())
        return respond_error(request, BrokerUnavailableError("the channel is being set up; try again later"))
