"""
A simulated phone network: a vumi transport with phones on it.

It speaks vumi as a real transport does: people's SMS and USSD input become
user messages on ``<connector>.inbound``, what comes on
``<connector>.outbound`` is shown on a phone, and acks, nacks and delivery
reports go to ``<connector>.event``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Callable, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..vumi.broker import Broker, Delivery, Outcome
from ..vumi.connectors import ReceiveOutboundConnector
from ..vumi.message import MalformedMessage, TransportEvent, TransportUserMessage, generate_id

log = Logger()

#: A network ends a USSD session that nobody answers after so many seconds.
SESSION_TIMEOUT = 120.0

#: Seconds between an ack and the delivery report of an SMS.
REPORT_DELAY = 1.0


class PhoneError(Exception):
    """What was asked of a phone cannot be done; the text says why."""


@dataclass(frozen=True)
class NetworkWeather:
    """
    How the network behaves towards messages to people.

    :ivar mode: ``up``; ``nack`` refuses each message; ``fail`` takes it and
        reports that it was not delivered; ``late`` delivers after ``delay``.
    :ivar delay: seconds, for ``late``.
    """

    mode: str = "up"
    delay: float = 10.0

    MODES = ("up", "nack", "fail", "late")

    def __post_init__(self) -> None:
        if self.mode not in self.MODES:
            raise ValueError(f"mode must be one of {', '.join(self.MODES)}, not {self.mode!r}")
        if self.delay < 0:
            raise ValueError("delay must not be negative")


@dataclass
class Session:
    """An open USSD session; ``last_id`` is the inbound message that waits for an answer."""

    id: str
    code: str
    last_id: str
    waiting: bool = True
    timeout: Optional[IDelayedCall] = None


@dataclass
class Phone:
    """
    One person's phone.

    :ivar screen: what the USSD screen shows, None when no session was opened.
    :ivar log: what was sent and received, as ``(direction, channel, text, at)``.
    """

    number: str
    screen: Optional[str] = None
    session: Optional[Session] = None
    log: list[dict[str, Any]] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """The phone as JSON, for the page."""
        session = self.session
        return {
            "number": self.number,
            "screen": self.screen,
            "session": None if session is None else {"code": session.code, "waiting": session.waiting},
            "log": self.log,
        }


class PhoneNetwork:
    """
    :param broker: the broker that the bridge is on.
    :param connector: the connector's name.
    :param clock: for timestamps, reports and timeouts.
    :param sms_number: where people's SMS go.
    :param observe: called with each ``(name, details)`` that happens.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        *,
        sms_number: str = "8864",
        observe: Optional[Callable[[str, dict[str, Any]], None]] = None,
    ) -> None:
        self._clock = clock
        self._connector = ReceiveOutboundConnector(
            connector,
            broker,
            prefetch=20,
            middlewares=[],
            clock=clock,
            on_malformed=self._malformed,
            on_error=self._failed,
        )
        self._connector.set_default_outbound_handler(self._show)
        self.name = connector
        self.sms_number = sms_number
        self._observe = observe if observe is not None else lambda name, details: None
        self.weather = NetworkWeather()
        self.phones: dict[str, Phone] = {}
        self._calls: set[IDelayedCall] = set()

    def start(self) -> None:
        """Take messages to people."""
        self._connector.unpause()

    def stop(self) -> None:
        """Take no more, and forget what was to come later."""
        self._connector.pause()
        for call in list(self._calls):
            call.cancel()
        self._calls.clear()
        for phone in self.phones.values():
            self._end(phone)

    def phone(self, number: str) -> Phone:
        """
        The phone with a number; it is switched on when it is first asked for.

        :raises PhoneError: where that is no phone number.
        """
        digits = number[1:] if number.startswith("+") else number
        if not (digits.isascii() and digits.isdigit() and 3 <= len(digits) <= 15):
            raise PhoneError("a phone number has 3 to 15 digits, with or without a leading +")
        return self.phones.setdefault(number, Phone(number))

    # -- what people do -------------------------------------------------------

    async def sms(self, number: str, text: str) -> TransportUserMessage:
        """A person sends an SMS; returns once the broker has it."""
        phone = self.phone(number)
        if not text:
            raise PhoneError("an SMS needs a text")
        self._log(phone, "out", "sms", text)
        return await self._inbound(phone, self.sms_number, "sms", text, None, {})

    async def dial(self, number: str, code: str) -> TransportUserMessage:
        """A person dials a USSD code; an open session ends."""
        phone = self.phone(number)
        if not (code.startswith("*") and code.endswith("#") and len(code) > 2):
            raise PhoneError("a USSD code starts with * and ends with #, as *120*8864#")
        if phone.session is not None:
            await self.hang_up(number)
        session_id = generate_id()
        message_id = generate_id()
        phone.session = Session(session_id, code, message_id)
        phone.screen = "…"
        self._log(phone, "out", "ussd", code)
        self._watch(phone)
        return await self._inbound(
            phone, code, "ussd", None, "new", {"session_id": session_id}, message_id=message_id
        )

    async def answer(self, number: str, text: str) -> TransportUserMessage:
        """A person types an answer in the open USSD session."""
        phone = self.phone(number)
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open: dial a code first")
        if session.waiting:
            raise PhoneError("the service has not answered yet")
        message_id = generate_id()
        session.last_id, session.waiting = message_id, True
        phone.screen = "…"
        self._log(phone, "out", "ussd", text)
        self._watch(phone)
        return await self._inbound(
            phone, session.code, "ussd", text, "resume", {"session_id": session.id}, message_id=message_id
        )

    async def hang_up(self, number: str) -> None:
        """A person, or the network, ends the USSD session."""
        phone = self.phone(number)
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open")
        self._end(phone)
        await self._inbound(phone, session.code, "ussd", None, "close", {"session_id": session.id})

    async def _inbound(
        self,
        phone: Phone,
        to_addr: str,
        transport_type: str,
        content: Optional[str],
        session_event: Optional[str],
        transport_metadata: dict[str, Any],
        message_id: Optional[str] = None,
    ) -> TransportUserMessage:
        message = TransportUserMessage.send(
            to_addr,
            content,
            from_addr=phone.number,
            session_event=session_event,
            transport_name=self.name,
            transport_type=transport_type,
            transport_metadata=transport_metadata,
            message_id=message_id if message_id is not None else generate_id(),
            timestamp=self._now(),
        )
        await self._connector.publish_inbound(message)
        self._changed(phone)
        return message

    # -- what comes for people ------------------------------------------------

    async def _show(self, message: TransportUserMessage) -> None:
        weather = self.weather
        if weather.mode == "nack":
            await self._event(message, "nack", nack_reason="the network refuses messages")
            return
        reason = self._deliver(message)
        if reason is not None:
            await self._event(message, "nack", nack_reason=reason)
            return
        await self._event(message, "ack", sent_message_id="provider-" + generate_id()[:12])
        if message.transport_type == "sms":
            status = "failed" if weather.mode == "fail" else "delivered"
            delay = weather.delay if weather.mode == "late" else REPORT_DELAY
            self._later(delay, self._report, message, status)

    def _deliver(self, message: TransportUserMessage) -> Optional[str]:
        """Put a message on the phone; the reason where that cannot be done."""
        if message.to_addr is None:
            return "the message has no to_addr"
        try:
            phone = self.phone(message.to_addr)
        except PhoneError as error:
            return str(error)
        text = message.content or ""
        if message.transport_type == "ussd":
            session = phone.session
            if session is None:
                return "no USSD session is open"
            if message.in_reply_to is None:
                return "a USSD message must answer one of the session (in_reply_to is missing)"
            if message.in_reply_to != session.last_id:
                return "the message answers another message than the session's last"
            session.waiting = False
            phone.screen = text
            if message.session_event == "close":
                self._end(phone)
                phone.screen = text
            else:
                self._watch(phone)
        self._log(phone, "in", message.transport_type or "sms", text)
        self._changed(phone)
        return None

    async def _report(self, message: TransportUserMessage, status: str) -> None:
        await self._event(message, "delivery_report", delivery_status=status)

    async def _event(self, message: TransportUserMessage, event_type: str, **fields: Any) -> None:
        event = TransportEvent(
            user_message_id=message.message_id, event_type=event_type, timestamp=self._now(), **fields
        )
        await self._connector.publish_event(event)

    # -- sessions, time, and what goes wrong ------------------------------------

    def _watch(self, phone: Phone) -> None:
        """End the session when nothing happens in it any more."""
        session = phone.session
        assert session is not None
        if session.timeout is not None:
            session.timeout.reset(SESSION_TIMEOUT)
        else:
            session.timeout = self._clock.callLater(SESSION_TIMEOUT, self._time_out, phone)

    def _time_out(self, phone: Phone) -> None:
        assert phone.session is not None
        phone.session.timeout = None
        self._handle(self.hang_up(phone.number))

    def _end(self, phone: Phone) -> None:
        session, phone.session = phone.session, None
        if session is not None and session.timeout is not None:
            session.timeout.cancel()
        phone.screen = None
        self._changed(phone)

    def _later(self, seconds: float, what: Callable[..., Any], *args: Any) -> None:
        def run() -> None:
            self._calls.discard(call)
            self._handle(what(*args))

        call = self._clock.callLater(seconds, run)
        self._calls.add(call)

    def _handle(self, awaitable: Any) -> Deferred[None]:
        done: Deferred[None] = ensureDeferred(awaitable)
        return done.addErrback(lambda f: log.failure("The simulated network failed", f))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.seconds(), timezone.utc)

    def _log(self, phone: Phone, direction: str, channel: str, text: str) -> None:
        phone.log.append(
            {"direction": direction, "channel": channel, "text": text, "at": self._clock.seconds()}
        )
        del phone.log[:-100]
        self._changed(phone)

    def _changed(self, phone: Phone) -> None:
        self._observe("phone", phone.to_dict())

    async def _malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        log.error("The simulated network was given what is no vumi message: {error}", error=error)
        return Outcome.ACK

    async def _failed(self, delivery: Delivery, message: object, failure: Failure) -> Outcome:
        log.failure("The simulated network failed on a message", failure)
        return Outcome.ACK
