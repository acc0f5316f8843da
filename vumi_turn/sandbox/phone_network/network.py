"""
A simulated phone network: a vumi transport with phones on it.

It speaks vumi as a real transport does: people's SMS and USSD input become
user messages on ``<connector>.inbound``, what comes on
``<connector>.outbound`` is shown on a phone, and acks, nacks and delivery
reports go to ``<connector>.event``.
"""

from __future__ import annotations

from typing import Awaitable, Callable, Optional

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...broker.interface import Broker, BrokerError, Delivery, Outcome
from ...timing.clock import wall_clock_of
from ...vumi.connectors import ReceiveOutboundConnector
from ...vumi.messages import MalformedMessage, TransportUserMessage
from ..recent import Recent
from .events import EventPublisher
from .faults import NetworkFaults
from .phones import Phone, PhoneError, Text, check_number, check_text
from .screen import SCREEN_SIZE
from .ussd import SessionChanged, UssdSessions

log = Logger()

#: Characters of an SMS (10 parts).
MAX_SMS = 1530

MAX_PHONES, MAX_IDS = 100, 10_000


class PhoneNetwork:
    """
    :param broker: the broker that the worker is on.
    :param connector: the connector's name.
    :param clock: for timestamps, reports and timeouts.
    :param sms_number: where people's SMS go.
    :param screen_size: of the phones' USSD screens, in septets.
    :param changed: called with each phone that has changed.
    :param session_changed: called with a number and a sentence when its USSD session begins or ends.
    :param failed: called with the id of a message that does not reach its phone, and why.
    """

    def __init__(
        self,
        broker: Broker,
        connector: str,
        clock: IReactorTime,
        *,
        sms_number: str = "8864",
        screen_size: int = SCREEN_SIZE,
        changed: Callable[[Phone], None] = lambda phone: None,
        session_changed: SessionChanged = lambda number, text: None,
        failed: Callable[[str, str], None] = lambda message_id, reason: None,
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
        self._sessions = UssdSessions(self, clock, changed, session_changed)
        self.name = connector
        self.sms_number = sms_number
        self._screen_size = screen_size
        self.faults = NetworkFaults()
        self._changed = changed
        self._message_failed = failed
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
            self._sessions.end(phone)

    def reset(self) -> None:
        """Switch off all phones and forget them; nobody is told that their sessions have ended."""
        for phone in self.phones():
            self._sessions.end(phone)
        self._events.forget()
        self._phones.clear()
        self._taken.clear()

    def phones(self) -> list[Phone]:
        """All phones that were used."""
        return self._phones.values()

    def phone(self, number: str) -> Phone:
        """
        The phone with a number, whether it was used before or not.

        :raises PhoneError: where that is no phone number.
        """
        return self._phones.get(check_number(number)) or Phone(number, screen_size=self._screen_size)

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
        message = self.message(phone, self.sms_number, "sms", text)
        entry = self._text(phone, message.message_id, "out", text)
        try:
            await self.publish(message)
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
        return await self._sessions.dial(self._used(number), code)

    async def answer(self, number: str, text: str) -> TransportUserMessage:
        """
        A person answers in the open USSD session.

        :raises PhoneError: there is none, or it is not the person's turn.
        :raises BrokerError: the broker has not taken it.
        """
        return await self._sessions.answer(self._used(number), text)

    async def hang_up(self, number: str) -> TransportUserMessage:
        """
        A person ends the USSD session.

        :raises PhoneError: there is none.
        :raises BrokerError: the broker has not taken the news.
        """
        return await self._sessions.hang_up(self._used(number))

    def message(self, phone: Phone, to_addr: str, transport_type: str, content: Optional[str]) -> TransportUserMessage:
        """A message of a person's, which is not sent yet."""
        return TransportUserMessage.send(
            to_addr,
            content,
            from_addr=phone.number,
            transport_name=self.name,
            transport_type=transport_type,
            timestamp=self._events.now(),
        )

    def publish(self, message: TransportUserMessage) -> Awaitable[object]:
        """
        Hand a message to the broker.

        :raises BrokerError: the broker has not taken it.
        """
        return self._connector.publish_inbound(message)

    # -- what comes for people ------------------------------------------------

    async def _take(self, message: TransportUserMessage) -> None:
        """Take a message for a person, and tell what becomes of it."""
        if message.message_id in self._taken:
            return  # delivered once more by the broker: its events have been seen to
        self._taken.put(message.message_id, True)
        if self.faults.mode == "nack":
            self._nack(message, "the network refuses messages")
        elif self.faults.mode == "late":
            self._events.ack(message)
            self._events.later(self.faults.delay, lambda: self._report(message, self._show(message)))
        else:
            reason = self._show(message)
            if reason is not None:
                self._nack(message, reason)
                return
            self._events.ack(message)
            undelivered = "the network reports that it was not delivered"
            self._report(message, undelivered if self.faults.mode == "fail" else None)

    def _nack(self, message: TransportUserMessage, reason: str) -> None:
        self._message_failed(message.message_id, reason)
        self._events.nack(message, reason)

    def _report(self, message: TransportUserMessage, reason: Optional[str]) -> None:
        """The delivery report of a message; ``reason`` is why it failed, None where it did not."""
        if reason is not None:
            self._message_failed(message.message_id, reason)
        self._events.report(message, "delivered" if reason is None else "failed")

    def _show(self, message: TransportUserMessage) -> Optional[str]:
        """Put a message on the phone; the reason where that cannot be done."""
        try:
            phone = self._used(message.to_addr or "")
        except PhoneError as error:
            return str(error)
        if message.transport_type == "ussd":
            return self._sessions.show(phone, message, self.faults)
        if self.faults.mode != "fail":
            self._text(phone, message.message_id, "in", message.content or "")
        return None

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
