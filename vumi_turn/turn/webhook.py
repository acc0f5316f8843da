"""
``POST {api_path}/messages``: what Turn wants to be sent.

A request is checked, read, handed over and answered: 200 once the broker has
its message, and not before.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable, Mapping, Optional

from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.web.resource import IResource
from twisted.web.server import Request

from ..http.direct import DirectRoute
from ..http.errors import ApiError, NotFound
from ..http.responses import internal_error, respond, respond_error
from ..http.routing import answer_routing_errors
from ..http.server import BoundedSite, Paths
from ..timing.limited_log import RateLimitedLogger
from ..timing.named_log import named
from .errors import SignatureMismatchError
from .handler import OutboundHandler
from .payloads import MESSAGES_PATH, parse_outbound
from .signature import SIGNATURE_HEADER, verify

log = Logger()

#: What the observer is told of an answer that is no error, and of a client
#: that did not wait for its answer.
OK = "ok"
GONE = "ClientGone"

#: The options to look at, which the log names and Turn is not told.
CHECKS = {SignatureMismatchError: "turn_hmac_secret", NotFound: "vumi_api_path"}

_SIGNATURE = SIGNATURE_HEADER.encode("ascii")

#: Runs of digits in a path that may be somebody's address.
_ADDRESS = re.compile(r"[0-9]{5,}")


def webhook_path(api_path: str) -> str:
    """
    Where Turn POSTs to.

    :param api_path: the option ``vumi_api_path``, however its slashes are written.
    """
    prefix = api_path.strip("/")
    return (f"/{prefix}" if prefix else "") + MESSAGES_PATH


class Webhook:
    """
    What Turn POSTs to.

    :param secret: Turn's HMAC secret for this channel.
    :param handler: takes what is asked for.
    :param clock: the reactor, or a clock.
    :param api_path: the path before ``/messages``.
    :param max_request_size: bytes of a body.
    :param observe: is told of each answer: :data:`OK`, :data:`GONE` or an
        error's title.
    :param connector: named in log lines.
    """

    def __init__(
        self,
        *,
        secret: str,
        handler: OutboundHandler,
        clock: IReactorTime,
        api_path: str = "",
        max_request_size: int,
        observe: Optional[Callable[[str], None]] = None,
        connector: str = "",
    ) -> None:
        self._log = named(log, connector)
        self._secret = secret.encode("utf-8")
        self._handler = handler
        self._clock = clock
        self._max_request_size = max_request_size
        self._observe = observe or (lambda title: None)
        self._refusals: dict[str, RateLimitedLogger] = {}
        self.path = webhook_path(api_path)
        app = Klein()
        app.url_map.merge_slashes = False
        app.route(self.path, methods=["POST"])(self.messages)
        answer_routing_errors(app, self._note_lost)
        self._app = app

    def resource(self) -> IResource:
        """The klein resource; only a :class:`BoundedSite` bounds what it reads."""
        resource: IResource = self._app.resource()
        return resource

    def route(self) -> IResource:
        """The same, without klein's routing for the POSTs that are meant for it."""
        return DirectRoute(self.resource(), b"POST", self.path.encode("utf-8"), self.messages)

    def site(self, beside: Optional[Mapping[bytes, IResource]] = None) -> BoundedSite:
        """
        What to listen with.

        :param beside: further resources by their exact paths.
        """
        resource = self.route()
        if beside:
            resource = Paths(resource, beside)
        return BoundedSite(resource, self._clock, self._max_request_size, observe=self._note)

    # -- a request ------------------------------------------------------------

    async def messages(self, request: Request) -> bytes:
        """Handle a POST: the response's body."""
        content: Any = request.content
        body: bytes = content.read()
        signature = request.requestHeaders.getRawHeaders(_SIGNATURE, (b"",))[0]
        try:
            if not verify(self._secret, body, signature):
                raise SignatureMismatchError()
            wanted = parse_outbound(body)
            message_id = await self._handler.accept(wanted, signature, _RequestClient(request))
        except ApiError as error:
            return self._refuse(request, error)
        except CancelledError:
            # klein cancels it when the client has gone away.
            self._observe(GONE)
            raise
        except Exception:  # the boundary of a request
            return self._refuse(request, internal_error("Handling a POST of Turn's failed"))
        self._observe(OK)
        channel: Any = request.channel

        def written(_: object) -> None:
            # After a close by the client, or with a reset to come, the answer may not have been read.
            self._handler.answered(wanted, signature, message_id, not channel.client_has_closed)
            channel.call_if_reset(lambda: self._handler.answered(wanted, signature, message_id, False))

        request.notifyFinish().addCallbacks(written, lambda _: self._handler.client_left(signature, message_id))
        return respond(request, 200, b'{"messages": [{"id": %b}]}' % json.dumps(message_id).encode("ascii"))

    # -- refusals ---------------------------------------------------------------

    def _refuse(self, request: Request, error: ApiError) -> bytes:
        self._note(error)
        return respond_error(request, error)

    def _note(self, error: ApiError, path: str = "") -> None:
        """Count a refusal, and log it: one line a minute for each kind, and how many more there were."""
        self._observe(error.title)
        refusals = self._refusals.get(error.title)
        if refusals is None:
            refusals = self._refusals[error.title] = RateLimitedLogger(self._log, self._clock, lines=1)
        refusals.emit(
            LogLevel.warn,
            "A POST of Turn's was answered {status} {title}: {details}{path}{check}",
            status=error.status,
            title=error.title,
            details=error.details,
            path=path,
            check=f"; check {CHECKS[type(error)]}" if type(error) in CHECKS else "",
        )

    def _note_lost(self, request: Request, error: ApiError) -> None:
        """Note a POST to another path: Turn may have been told another one than ours."""
        self._note(error, f": {_shown_path(request.path)}, not {self.path}")


class _RequestClient:
    """The client of one request."""

    __slots__ = ("_request",)

    def __init__(self, request: Request) -> None:
        self._request = request

    @property
    def present(self) -> bool:
        """See :class:`~vumi_turn.turn.handler.Client`."""
        channel: Any = self._request.channel
        return channel is not None and not channel.client_has_closed


def _shown_path(path: bytes) -> str:
    """A path as the log may show it: not too long, in ASCII, and without what may be an address."""
    return _ADDRESS.sub("…", path.decode("ascii", "backslashreplace")[:80])
