"""
``POST {api_path}/messages``: what Turn wants to be sent.

A request is answered 200 once the broker has its message, and not before.
"""

from __future__ import annotations

import json
from typing import Any, Callable, Mapping, Optional

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from ..http.errors import ApiError, MethodNotAllowed, NotFound
from ..http.responses import internal_error, respond, respond_error
from ..http.server import BoundedSite, Paths
from ..outbound.idempotency import IdempotencyStore, Pending, Stage
from ..outbound.publisher import Build, OutboundPublisher, Publish
from .errors import BrokerUnavailableError, SignatureMismatchError
from .payloads import MESSAGES_PATH, OutboundRequest, parse_outbound
from .signature import SIGNATURE_HEADER, verify

log = Logger()

#: Seconds for which a status waits until Turn has been told the message's id.
WRITTEN_TIMEOUT = 5.0

#: Seconds in which an answer leaves the connection's buffer for the network.
WRITING_TIME = 0.1

#: What the observer is told of an answer that is no error, and of a client
#: that did not wait for its answer.
OK = "ok"
GONE = "ClientGone"

#: Seconds between two lines about the same kind of refusal.
LINE_EVERY = 60.0

#: The options to look at, which the log names and Turn is not told.
CHECKS = {SignatureMismatchError: "turn_hmac_secret", NotFound: "vumi_api_path"}

_SIGNATURE = SIGNATURE_HEADER.encode("ascii")


class Webhook:
    """
    What Turn POSTs to.

    :param secret: Turn's HMAC secret for this channel.
    :param build: makes the message that a request asks for, with a given id;
        may raise :exc:`ApiError`.
    :param publish: returns when the broker has the message.
    :param retryable: what ``publish`` raises where the broker has not taken it.
    :param clock: the reactor, or a clock.
    :param api_path: the path before ``/messages``.
    :param request_timeout: seconds for the whole handling of a request.
    :param publish_timeout: seconds for the broker's confirmation.
    :param max_request_size: bytes of a body.
    :param new_id: makes message ids.
    :param observe: is told of each answer: :data:`OK`, :data:`GONE` or an
        error's title.
    """

    def __init__(
        self,
        *,
        secret: str,
        build: Build,
        publish: Publish,
        clock: Any,
        retryable: tuple[type[Exception], ...] = (),
        api_path: str = "",
        request_timeout: float,
        publish_timeout: float,
        max_request_size: int,
        new_id: Callable[[], str],
        observe: Optional[Callable[[str], None]] = None,
    ) -> None:
        self._secret = secret.encode("utf-8")
        self._clock = clock
        self._max_request_size = max_request_size
        self._new_id = new_id
        self._observe = observe or (lambda title: None)
        self._repeats = IdempotencyStore(clock)
        self._publishing = OutboundPublisher(
            clock, build, publish, retryable, self._repeats, request_timeout, publish_timeout
        )
        self._lines = _RefusalLines(clock)
        self._stopping = False
        self._under_way = 0
        self._drained: list[Deferred[None]] = []
        prefix = api_path.strip("/")
        self.path = (f"/{prefix}" if prefix else "") + MESSAGES_PATH
        app = Klein()
        app.url_map.merge_slashes = False
        app.route(self.path, methods=["POST"])(self.messages)
        answer_routing_errors(app, self._note)
        self._app = app

    # -- what others need -----------------------------------------------------

    def resource(self) -> IResource:
        """The klein resource; only a :class:`BoundedSite` bounds what it reads."""
        resource: Any = self._app.resource()
        return resource

    def site(self, beside: Optional[Mapping[bytes, IResource]] = None) -> BoundedSite:
        """
        What to listen with.

        :param beside: further resources by their exact paths.
        """
        resource: Any = self.resource()
        if beside:
            resource = Paths(resource, beside)
        return BoundedSite(resource, self._clock, self._max_request_size, observe=self._note)

    def written(self, message_id: str) -> Deferred[None]:
        """
        Wait until Turn knows a message's id.

        :return: fires when our 200 with that id has been written, at once
            where there is none to come, and at the latest after
            :data:`WRITTEN_TIMEOUT`. It never fails, unless it is cancelled.
        """
        pending = self._repeats.find_id(message_id)
        if pending is None:
            return succeed(None)
        written = pending.written()
        timer = self._clock.callLater(WRITTEN_TIMEOUT, written.cancel)
        given_up = False

        def give_up(_: object) -> None:
            nonlocal given_up
            given_up = True
            written.cancel()

        def done(_: object) -> None:
            if timer.active():
                timer.cancel()
            if not given_up:
                result.callback(None)

        result: Deferred[None] = Deferred(give_up)
        written.addBoth(done)
        return result

    def stop(self) -> None:
        """
        Take no new messages; what is under way goes on, and its repeats are
        answered: the next worker would take them for new messages.
        """
        self._stopping = True

    async def drain(self, timeout: float) -> None:
        """
        Wait, for up to ``timeout`` seconds, until nothing is under way; and a
        moment longer, because the last answers are still in the connections'
        buffers.
        """
        if self._under_way:
            drained: Deferred[None] = Deferred()
            self._drained.append(drained)
            timer = self._clock.callLater(timeout, drained.callback, None)
            await drained
            if timer.active():
                timer.cancel()
        await deferLater(self._clock, WRITING_TIME)

    # -- a request ------------------------------------------------------------

    async def messages(self, request: Request) -> bytes:
        """Handle a POST: the response's body."""
        self._begin()
        request.notifyFinish().addBoth(lambda _: self._end())
        try:
            pending = await self._handle(request)
        except ApiError as error:
            return self._refuse(request, error)
        except CancelledError:
            # klein cancels it when the client has gone away.
            self._observe(GONE)
            raise
        except Exception:  # the boundary of a request
            return self._refuse(request, internal_error("Handling a POST of Turn's failed"))
        self._observe(OK)
        request.notifyFinish().addCallbacks(
            lambda _: self._repeats.forget(pending),
            # The client has gone away: the same body again is still the same message.
            lambda _: None,
        )
        answer = {"messages": [{"id": pending.message_id}]}
        return respond(request, 200, json.dumps(answer).encode("ascii"))

    def _refuse(self, request: Request, error: ApiError) -> bytes:
        self._note(error)
        return respond_error(request, error)

    def _note(self, error: ApiError) -> None:
        """Count a refusal, and say it in the log."""
        self._observe(error.title)
        self._lines.say(error)

    async def _handle(self, request: Request) -> Pending:
        """The message that a request asks for, once the broker has it."""
        content: Any = request.content
        body: bytes = content.read()
        signature = request.requestHeaders.getRawHeaders(_SIGNATURE, (None,))[0]
        if not verify(self._secret, body, signature):
            raise SignatureMismatchError()
        assert signature is not None  # it has been verified
        pending = self._repeats.find(signature)
        if self._stopping and (pending is None or pending.stage is Stage.REFUSED):
            raise BrokerUnavailableError("the worker is stopping; try again later")
        if pending is None:
            outbound = parse_outbound(body)
            pending = self._repeats.add(signature, self._new_id())
            self._start(pending, outbound)
        elif pending.stage is Stage.REFUSED:
            self._start(pending, None)
        await self._publishing.wait_for(pending)
        return pending

    def _start(self, pending: Pending, outbound: Optional[OutboundRequest]) -> None:
        self._begin()
        self._publishing.start(pending, outbound).addBoth(lambda _: self._end())

    # -- what is under way -------------------------------------------------------

    def _begin(self) -> None:
        self._under_way += 1

    def _end(self) -> None:
        self._under_way -= 1
        if not self._under_way:
            drained, self._drained = self._drained, []
            for waiting in drained:
                if not waiting.called:
                    waiting.callback(None)


class _RefusalLines:
    """A line in the log for each kind of refusal, one a minute."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._next: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, error: ApiError) -> None:
        """Log it, or count it for the next line."""
        title, now = error.title, self._clock.seconds()
        if now < self._next.get(title, now):
            self._unsaid[title] = self._unsaid.get(title, 0) + 1
            return
        self._next[title] = now + LINE_EVERY
        unsaid = self._unsaid.pop(title, 0)
        log.warn(
            "A POST of Turn's was answered {status} {title}: {details}{check}{others}",
            status=error.status,
            title=title,
            details=error.details,
            check=f"; check {CHECKS[type(error)]}" if type(error) in CHECKS else "",
            others=f" ({unsaid} others since the last such line)" if unsaid else "",
        )


def answer_routing_errors(app: Klein, note: Callable[[ApiError], None] = lambda error: None) -> None:
    """
    Let a klein application answer in JSON where it has no route.

    :param note: is told of each POST that goes nowhere: it may be Turn's, and
        our path another one than Turn was told.
    """

    @app.handle_errors(HTTPException)
    def refuse(request: Request, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, WrongMethod):
            return respond_error(request, MethodNotAllowed(allow=sorted(error.valid_methods or ())))
        missing = NotFound()
        if request.method == b"POST":
            note(missing)
        return respond_error(request, missing)
