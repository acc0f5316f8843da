"""
One route of a klein resource without klein's routing: for each request
werkzeug binds a map and matches all of it, which costs as much as Turn's whole
message. The handler is the one that klein was given, and every other request
goes klein's way.
"""

from __future__ import annotations

from typing import Any, Callable, Coroutine, Optional

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..timing.running import Running

log = Logger()

#: A handler of klein's: it sets status and headers, and returns the body.
Handler = Callable[[Request], Coroutine[Deferred[Any], Any, bytes]]


class DirectRoute(Resource):
    """
    :param resource: klein's, for all other requests.
    :param method: of the route, such as ``b"POST"``.
    :param path: exactly as requested; one that is encoded in another way is klein's.
    :param handler: handles its own errors; what it raises nevertheless is a bug,
        which twisted.web logs and answers with 500.
    """

    isLeaf = True

    def __init__(self, resource: IResource, method: bytes, path: bytes, handler: Handler) -> None:
        super().__init__()
        self._resource: Any = resource
        self._method = method
        self._path = path
        self._handler = handler

    def render(self, request: Request) -> Any:
        if request.path != self._path or request.method != self._method:
            return self._resource.render(request)
        gone = ended = False
        running: Optional[Running[bytes]] = None

        def client_gone(_: Failure) -> None:
            nonlocal gone
            gone = True
            if running is not None:
                running.cancel()

        def answer(body: bytes) -> None:
            nonlocal ended
            ended = True
            if not gone:
                try:
                    request.write(body)
                    request.finish()
                except Exception:  # the boundary of a request
                    fail(Failure())

        def fail(failure: Failure) -> None:
            nonlocal ended
            ended = True
            if not gone:
                request.processingFailed(failure)
            elif not failure.check(CancelledError):
                log.failure("Handling a request failed after its client had gone", failure)

        running = Running(self._handler(request), answer, fail)
        if not ended:
            finished: Deferred[None] = request.notifyFinish()
            finished.addErrback(client_gone)
        return NOT_DONE_YET
