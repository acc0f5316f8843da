"""
A simulated phone network: a vumi transport with phones on it.

It speaks vumi as a real transport does: people's SMS and USSD input become
user messages on ``<connector>.inbound``, what comes on
``<connector>.outbound`` is shown on a phone, and acks, nacks and delivery
reports go to ``<connector>.event``.
"""

from __future__ import annotations

from typing import Callable, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...broker.interface import Broker, BrokerError, Delivery, Outcome
from ...timing.clock import wall_clock_of
from ...vumi.connectors import ReceiveOutboundConnector
from ...vumi.messages import MalformedMessage, TransportUserMessage, generate_id
from ..recent import Recent
from .events import EventPublisher, in_background
from .faults import NetworkFaults
from .phones import Phone, PhoneError, Session, Text, check_code, check_number, check_text

log = Logger()

#: A network ends a USSD session in which nothing happens for so many seconds.
SESSION_TIMEOUT = 120.0

#: Characters of a USSD input, and of an SMS (10 parts).
MAX_USSD, MAX_SMS = 182, 1530

MAX_PHONES, MAX_IDS = 100, 10_000

#: What a phone shows when the network cannot carry on with a session.
NO_SERVICE = "Connection problem or invalid MMI code."


class PhoneNetwork:
    """
    :param broker: the broker that the bridge is on.
    :param connector: the connector's name.
    :param clock: for timestamps, reports and timeouts.
    :param sms_number: where people's SMS go.
    :param changed: called with each phone that has changed.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        *,
        sms_number: str = "8864",
        changed: Callable[[Phone], None] = lambda phone: None,
    ) -> None:
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._connector = ReceiveOutboundConnector(
            connector,
            broker,
            prefetch=20,
            middlewares=[],
            clock=clock,
            on_malformed=self._malformed,
            on_error=self._failed,
        )
        self._connector.set_default_outbound_handler(self._take)
        self._events = EventPublisher(self._connector, clock)
        self.name = connector
        self.sms_number = sms_number
        self.faults = NetworkFaults()
        self._changed = changed
        self._phones: Recent[Phone] = Recent(MAX_PHONES)
        self._taken: Recent[bool] = Recent(MAX_IDS)

    def start(self) -> None:
        """Take messages to people."""
        self._connector.unpause()

    def stop(self) -> None:
        """Take no more, and forget what was to come later."""
        self._events.stop()
        self._connector.teardown()
        for phone in self.phones():
            self._end(phone)

    def phones(self) -> list[Phone]:
        """All phones that were used."""
        return self._phones.values()

    def phone(self, number: str) -> Phone:
        """
        The phone with a number, whether it was used before or not.

        :raises PhoneError: where that is no phone number.
        """
        return self._phones.get(check_number(number)) or Phone(number)

    def _used(self, number: str) -> Phone:
        """The same, and it is remembered; the one least used makes room."""
        return self._phones.put(check_number(number), self.phone(number))

    # -- what people do -------------------------------------------------------

    async def sms(self, number: str, text: str) -> TransportUserMessage:
        """
        A person sends an SMS; returns once the broker has it.

        :raises PhoneError: it is no number, or no text.
        :raises BrokerError: the broker has not taken it.
        """
        check_text(text, "an SMS", MAX_SMS)
        phone = self._used(number)
        message = self._message(phone, self.sms_number, "sms", text)
        entry = self._text(phone, message.message_id, "out", text)
        try:
            await self._connector.publish_inbound(message)
        except BrokerError:
            entry.error = "not sent: the broker is away"
            self._changed(phone)
            raise
        return message

    async def dial(self, number: str, code: str) -> TransportUserMessage:
        """
        A person dials a USSD code; an open session ends.

        :raises PhoneError: it is no number, or no code.
        :raises BrokerError: the broker has not taken it.
        """
        check_code(code)
        phone = self._used(number)
        if phone.session is not None:
            await self.hang_up(number)
        session = Session(generate_id(), code, generate_id())
        phone.session, phone.screen = session, None
        return await self._input(phone, session, None, "new")

    async def answer(self, number: str, text: str) -> TransportUserMessage:
        """
        A person answers in the open USSD session.

        :raises PhoneError: there is none, or it is not the person's turn.
        :raises BrokerError: the broker has not taken it.
        """
        check_text(text, "an answer", MAX_USSD)
        phone = self._used(number)
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open: dial a code first")
        if session.waiting:
            raise PhoneError("the service has not answered yet")
        session.last_id = generate_id()
        return await self._input(phone, session, text, "resume")

    async def hang_up(self, number: str) -> TransportUserMessage:
        """
        A person, or the network, ends the USSD session.

        :raises PhoneError: there is none.
        :raises BrokerError: the broker has not taken the news.
        """
        phone = self._used(number)
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open")
        self._end(phone)
        message = self._ussd(phone, session, None, "close")
        await self._connector.publish_inbound(message)
        return message

    async def _input(self, phone: Phone, session: Session, text: Optional[str], event: str) -> TransportUserMessage:
        session.waiting = True
        self._watch(phone, session)
        self._changed(phone)
        message = self._ussd(phone, session, text, event).replace(message_id=session.last_id)
        try:
            await self._connector.publish_inbound(message)
        except BrokerError:
            if phone.session is session:
                self._end(phone, NO_SERVICE)
            raise
        return message

    def _ussd(self, phone: Phone, session: Session, text: Optional[str], event: str) -> TransportUserMessage:
        message = self._message(phone, session.code, "ussd", text)
        return message.replace(session_event=event, transport_metadata={"session_id": session.id})

    def _message(self, phone: Phone, to_addr: str, transport_type: str, content: Optional[str]) -> TransportUserMessage:
        return TransportUserMessage.send(
            to_addr,
            content,
            from_addr=phone.number,
            transport_name=self.name,
            transport_type=transport_type,
            timestamp=self._events.now(),
        )

    # -- what comes for people ------------------------------------------------

    async def _take(self, message: TransportUserMessage) -> None:
        """Take a message for a person, and tell what becomes of it."""
        if message.message_id in self._taken:
            return  # delivered once more by the broker: its events have been seen to
        self._taken.put(message.message_id, True)
        if self.faults.mode == "nack":
            self._events.nack(message, "the network refuses messages")
        elif self.faults.mode == "late":
            self._events.ack(message)
            self._events.later(self.faults.delay, lambda: self._deliver_late(message))
        else:
            reason = self._show(message)
            if reason is None:
                self._events.ack(message)
                self._events.report(message, "failed" if self.faults.mode == "fail" else "delivered")
            else:
                self._events.nack(message, reason)

    def _deliver_late(self, message: TransportUserMessage) -> None:
        self._events.report(message, "delivered" if self._show(message) is None else "failed")

    def _show(self, message: TransportUserMessage) -> Optional[str]:
        """Put a message on the phone; the reason where that cannot be done."""
        try:
            phone = self._used(message.to_addr or "")
        except PhoneError as error:
            return str(error)
        if message.transport_type == "ussd":
            return self._show_ussd(phone, message)
        if self.faults.mode != "fail":
            self._text(phone, message.message_id, "in", message.content or "")
        return None

    def _show_ussd(self, phone: Phone, message: TransportUserMessage) -> Optional[str]:
        session = phone.session
        if session is None:
            return "no USSD session is open"
        if message.in_reply_to is None:
            return "a USSD message must answer one of the session (in_reply_to is missing)"
        if message.in_reply_to != session.last_id:
            return "the message answers another message than the session's last"
        if not session.waiting:
            return "the session waits for the person, not for the service"
        if self.faults.mode == "fail":
            self._end(phone, NO_SERVICE)
            return "the session broke down"
        if message.session_event == TransportUserMessage.SESSION_CLOSE:
            self._end(phone, message.content or "")
        else:
            session.waiting, phone.screen = False, message.content or ""
            self._watch(phone, session)
            self._changed(phone)
        return None

    # -- sessions, time, and what goes wrong ------------------------------------

    def _watch(self, phone: Phone, session: Session) -> None:
        """End the session when nothing happens in it any more."""
        if session.timeout is not None:
            session.timeout.reset(SESSION_TIMEOUT)
        else:
            session.timeout = self._clock.callLater(SESSION_TIMEOUT, self._time_out, phone, session)

    def _time_out(self, phone: Phone, session: Session) -> None:
        session.timeout = None
        in_background(self.hang_up(phone.number))

    def _end(self, phone: Phone, screen: Optional[str] = None) -> None:
        """Close the session; the screen goes on showing what came last."""
        session, phone.session = phone.session, None
        if session is not None and session.timeout is not None:
            session.timeout.cancel()
        phone.screen = screen
        self._changed(phone)

    def _text(self, phone: Phone, message_id: str, direction: str, text: str) -> Text:
        entry = Text(message_id, direction, text, self._wall())
        phone.texts.append(entry)
        self._changed(phone)
        return entry

    async def _malformed(self, delivery: Delivery, error: MalformedMessage) -> Outcome:
        log.error("The simulated network was given what is no vumi message: {error}", error=error)
        return Outcome.ACK

    async def _failed(self, delivery: Delivery, message: object, failure: Failure) -> Outcome:
        log.failure("The simulated network failed on a message", failure)
        return Outcome.ACK
