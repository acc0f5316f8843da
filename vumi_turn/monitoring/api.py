"""
The JSON API of those who look after a process; the operator's page is made of it.

========================================== ====================================================
``GET /api/channels``                      all channels, with state in words, rates and queues
``GET /api/channels/NAME``                 one of them
``GET /api/channels/NAME/traces``          its latest messages; ``?limit=50``
``GET /api/traces/ID``                     what is known of a message, in each channel
``POST /api/traces``                       ``{"address": …}`` or ``{"person": HASH}``: a person's messages
``GET /api/parked``                        what is parked; ``connector reason person older_than newer_than
                                           status offset limit``
``POST /api/parked/replay``, ``…/drop``    ``{"all": true}``, or a filter: ``connector ids digests reason
                                           person older_than newer_than status``; need the password
``GET /api/events``                        server-sent events: what has changed
========================================== ====================================================
"""

from __future__ import annotations

from typing import Any, Callable, Collection, Mapping, Optional
from urllib.parse import parse_qs

from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.server import Request

from ..broker.interface import BrokerError
from ..failures.reader import DeliveriesLost, QueueInUse
from ..http.access import check_change, check_host, json_object, respond_json
from ..http.errors import ApiError, ApiUsageError, NotFound
from ..http.responses import respond_error
from ..http.wrong_passwords import WrongPasswords
from ..timing.clock import wall_clock_of
from ..timing.timeouts import Timeouts
from .live import LiveUpdates
from .parked import ParkedMessages
from .parked_rows import ParkedFilter
from .queue_counts import LOOKED_AT, QueueCounters
from .trace import TraceStore
from .views import ChannelViews

#: Rows of an answer: unless the request says so, and at the most.
PAGE, MOST_ROWS = 50, 1000

#: Seconds that a request for what is parked waits for it to be read.
PATIENCE = 10.0


class NotDone(ApiError):
    """The queue could not be worked with now; nothing is lost, and what was not done is still parked."""

    status = 503
    title = "BrokerUnavailable"


class OperatorApi:
    """
    The API of one process.

    :param views: its channels.
    :param counters: their queues' numbers.
    :param traces: their messages.
    :param parked: what they have parked.
    :param live: tells what changes.
    :param clock: for the waits.
    :param password: the operator's; None where nobody may change anything.
    :param names: host names of this server, beside its addresses.
    """

    def __init__(
        self,
        views: ChannelViews,
        counters: QueueCounters,
        traces: TraceStore,
        parked: ParkedMessages,
        live: LiveUpdates,
        clock: IReactorTime,
        password: Optional[str] = None,
        names: Collection[str] = (),
    ) -> None:
        self._views = views
        self._counters = counters
        self._traces = traces
        self._parked = parked
        self._live = live
        self._wall = wall_clock_of(clock)
        self._timeouts = Timeouts(clock)
        self._password = password
        self._names = names
        self._wrong = WrongPasswords(clock)

    def add_routes(self, app: Klein) -> None:
        """Give a klein application the API's paths."""

        def refused(request: Request, failure: Failure) -> bytes:
            error: Any = failure.value
            return respond_error(request, error)

        def not_done(request: Request, failure: Failure) -> bytes:
            return respond_error(request, NotDone(f"{failure.getErrorMessage()}; what was not done is still parked"))

        app.handle_errors(ApiError)(refused)
        app.handle_errors(BrokerError, QueueInUse, DeliveriesLost)(not_done)
        reads: dict[str, Callable[..., Any]] = {
            "/api/channels": self.channels,
            "/api/channels/<connector>": self.channel,
            "/api/channels/<connector>/traces": self.latest_traces,
            "/api/traces/<message_id>": self.trace,
            "/api/parked": self.list_parked,
            "/api/events": self.events,
        }
        for path, read in reads.items():
            app.route(path, methods=["GET"])(read)
        app.route("/api/traces", methods=["POST"])(self.traces_of_person)
        app.route("/api/parked/replay", methods=["POST"])(self.replay)
        app.route("/api/parked/drop", methods=["POST"])(self.drop)

    # -- channels ----------------------------------------------------------------

    async def channels(self, request: Request) -> bytes:
        """All channels."""
        check_host(request, self._names)
        await self._counters.refresh(LOOKED_AT)
        found = [snapshot.to_dict() for snapshot in self._views.snapshots()]
        return respond_json(request, {"channels": found, **self._abilities(), "now": self._wall()})

    async def channel(self, request: Request, connector: str) -> bytes:
        """One channel."""
        check_host(request, self._names)
        await self._counters.refresh(LOOKED_AT)
        snapshot = self._views.snapshot(connector)
        if snapshot is None:
            raise NotFound(f"there is no channel {connector}")
        return respond_json(request, snapshot.to_dict())

    def events(self, request: Request) -> Deferred[None]:
        """What changes, for as long as somebody listens."""
        check_host(request, self._names)
        return self._live.open(request)

    def _abilities(self) -> dict[str, bool]:
        return {"can_change": self._password is not None, "shows_content": self._parked.content}

    # -- traces ------------------------------------------------------------------

    def latest_traces(self, request: Request, connector: str) -> bytes:
        """A channel's latest messages."""
        check_host(request, self._names)
        if connector not in self._views:
            raise NotFound(f"there is no channel {connector}")
        limit = min(_whole(_query(request), "limit", PAGE), MOST_ROWS)
        return respond_json(request, {"traces": self._traces.latest(connector, limit)})

    def trace(self, request: Request, message_id: str) -> bytes:
        """One message, in each channel that knows it."""
        check_host(request, self._names)
        return respond_json(request, {"traces": self._traces.find(message_id)})

    def traces_of_person(self, request: Request) -> bytes:
        """A person's latest messages; the address travels in the body, which no log has."""
        check_host(request, self._names)
        body = json_object(request)
        asked = [body[name] for name in ("address", "person") if isinstance(body.get(name), str) and body[name]]
        if len(asked) != 1:
            raise ApiUsageError("the body must have address or person, a string")
        limit = min(_whole(body, "limit", PAGE), MOST_ROWS)
        return respond_json(request, {"traces": self._traces.of_person(asked[0], limit)})

    # -- what is parked -----------------------------------------------------------

    async def list_parked(self, request: Request) -> bytes:
        """What is parked: a part of the list, the latest first."""
        check_host(request, self._names)
        query = _query(request)
        wanted = filter_of(query)
        self._check_connector(wanted)
        offset, limit = _whole(query, "offset", 0), min(_whole(query, "limit", PAGE), MOST_ROWS)
        await self._counters.refresh(LOOKED_AT)
        self._parked.forget_old()
        stale = self._parked.stale(wanted.connector)
        if stale:
            try:
                await self._timeouts.bound(self._parked.read(stale), PATIENCE, TimeoutError)
            except TimeoutError:
                pass  # it goes on, and the answer says so
        rows = self._parked.rows(wanted)
        return respond_json(
            request,
            {
                "parked": [row.to_dict() for row in rows[offset : offset + limit]],
                "matching": len(rows),
                "offset": offset,
                "limit": limit,
                "reading": sorted(self._parked.reading),
                "errors": self._parked.errors,
                "now": self._wall(),
                **self._abilities(),
            },
        )

    async def replay(self, request: Request) -> bytes:
        """Put parked messages back into their queues."""
        return await self._change(request, self._parked.replay)

    async def drop(self, request: Request) -> bytes:
        """Throw parked messages away."""
        return await self._change(request, self._parked.drop)

    async def _change(self, request: Request, act: Callable[[ParkedFilter], Deferred[dict[str, int]]]) -> bytes:
        body = check_change(request, self._password, self._names, self._wrong)
        wanted = filter_of(body)
        self._check_connector(wanted)
        everything = body.get("all", False)
        if not isinstance(everything, bool) or everything == wanted.chooses:
            raise ApiUsageError('say which: ids, digests or another filter, or "all": true')
        return respond_json(request, await act(wanted))

    def _check_connector(self, wanted: ParkedFilter) -> None:
        if wanted.connector is not None and wanted.connector not in self._views:
            raise NotFound(f"there is no channel {wanted.connector}")


# -- what requests say -------------------------------------------------------


def filter_of(given: Mapping[str, Any]) -> ParkedFilter:
    """
    The filter in a query or a body; empty texts are left out.

    :raises ApiUsageError: a part of it is not what it has to be.
    """
    return ParkedFilter(
        connector=_text(given, "connector"),
        ids=_texts(given, "ids"),
        digests=_texts(given, "digests"),
        reason=_text(given, "reason"),
        person=_text(given, "person"),
        older_than=_number(given, "older_than"),
        newer_than=_number(given, "newer_than"),
        status=None if given.get("status") in (None, "") else _whole(given, "status", 0),
    )


def _query(request: Request) -> dict[str, str]:
    raw = request.uri.partition(b"?")[2].decode("ascii", "replace")
    return {name: values[-1] for name, values in parse_qs(raw).items()}


def _text(given: Mapping[str, Any], name: str) -> Optional[str]:
    value = given.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ApiUsageError(f"{name} must be a string")
    return value


def _texts(given: Mapping[str, Any], name: str) -> frozenset[str]:
    value = given.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ApiUsageError(f"{name} must be a list of strings")
    if name in given and not value:
        raise ApiUsageError(f"{name} must not be empty")
    return frozenset(value)


def _number(given: Mapping[str, Any], name: str) -> Optional[float]:
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < 1e12:
        raise ApiUsageError(f"{name} must be a number of seconds")
    return number


def _whole(given: Mapping[str, Any], name: str, default: int) -> int:
    value = given.get(name, default)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if type(value) is not int or value < 0:
        raise ApiUsageError(f"{name} must be a whole number, 0 or more")
    return value
