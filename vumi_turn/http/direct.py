"""
One route of a klein resource without klein's routing: for each request
werkzeug binds a map and matches all of it, which costs as much as Turn's whole
message. The handler is the one that klein was given, and every other request
goes klein's way.
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

log = Logger()

#: A handler of klein's: it sets status and headers, and returns the body.
Handler = Callable[[Request], Awaitable[bytes]]


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
        gone = False
        handling: Deferred[bytes] = ensureDeferred(self._handler(request))  # type: ignore[arg-type]

        def client_gone(_: Failure) -> None:
            nonlocal gone
            gone = True
            handling.cancel()

        def answer(body: bytes) -> None:
            if not gone:
                request.write(body)
                request.finish()

        def fail(failure: Failure) -> None:
            if not gone:
                request.processingFailed(failure)
            elif not failure.check(CancelledError):
                log.failure("Handling a request failed after its client had gone", failure)

        finished: Deferred[None] = request.notifyFinish()
        finished.addErrback(client_gone)
        handling.addCallback(answer).addErrback(fail)
        return NOT_DONE_YET
