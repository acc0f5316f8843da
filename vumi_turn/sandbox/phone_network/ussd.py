"""USSD sessions of the simulated phones: how they begin, go on and end."""

from __future__ import annotations

from typing import Awaitable, Callable, Optional, Protocol

from twisted.internet.interfaces import IReactorTime

from ...broker.interface import BrokerError
from ...timing.clock import wall_clock_of
from ...vumi.messages import TransportUserMessage, generate_id
from .events import in_background
from .faults import NetworkFaults
from .phones import Phone, PhoneError, Session, Text, check_code, check_text
from .screen import UNIT_NAMES, screen_length

#: A network ends a USSD session in which nothing happens for so many seconds.
SESSION_TIMEOUT = 120.0

#: Characters of a USSD input.
MAX_INPUT = 182

#: What a phone shows when the network cannot carry on with a session.
NO_SERVICE = "Connection problem or invalid MMI code."

#: Called with a number and a sentence.
SessionChanged = Callable[[str, str], None]


class Inputs(Protocol):
    """Where people's inputs go: the network's side of a vumi connector."""

    def message(self, phone: Phone, to_addr: str, transport_type: str, content: Optional[str]) -> TransportUserMessage:
        """A message of a person's."""

    def publish(self, message: TransportUserMessage) -> Awaitable[object]:
        """Hand it to the broker; raises :exc:`BrokerError` where that has not taken it."""


class UssdSessions:
    """
    :param inputs: makes and publishes people's messages.
    :param clock: for timestamps and :data:`SESSION_TIMEOUT`.
    :param changed: called with each phone that has changed.
    :param session_changed: called when a session begins or ends.
    """

    def __init__(
        self,
        inputs: Inputs,
        clock: IReactorTime,
        changed: Callable[[Phone], None],
        session_changed: SessionChanged,
    ) -> None:
        self._inputs = inputs
        self._clock = clock
        self._wall = wall_clock_of(clock)
        self._changed = changed
        self._session_changed = session_changed

    # -- what people do -------------------------------------------------------

    async def dial(self, phone: Phone, code: str) -> TransportUserMessage:
        """
        Begin a session; an open one ends.

        :raises PhoneError: it is no code.
        :raises BrokerError: the broker has not taken it.
        """
        check_code(code)
        if phone.session is not None:
            await self.hang_up(phone)
        session = Session(generate_id(), code, generate_id())
        phone.session, phone.screen = session, None
        self._note(phone, f"Session opened: dialled {code}")
        return await self._input(phone, session, None, TransportUserMessage.SESSION_NEW)

    async def answer(self, phone: Phone, text: str) -> TransportUserMessage:
        """
        Answer in the open session.

        :raises PhoneError: there is none, or it is not the person's turn.
        :raises BrokerError: the broker has not taken it.
        """
        check_text(text, "an answer", MAX_INPUT)
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open: dial a code first")
        if session.waiting:
            raise PhoneError("the service has not answered yet")
        session.last_id = generate_id()
        phone.steps.append(Text(session.last_id, "out", text, self._wall()))
        return await self._input(phone, session, text, TransportUserMessage.SESSION_RESUME)

    async def hang_up(self, phone: Phone, why: str = "Session ended: the person hung up") -> TransportUserMessage:
        """
        End the open session.

        :param why: what is noted in both conversations.
        :raises PhoneError: there is none.
        :raises BrokerError: the broker has not taken the news.
        """
        session = phone.session
        if session is None:
            raise PhoneError("no USSD session is open")
        self._note(phone, why)
        self.end(phone)
        message = self._message(phone, session, None, TransportUserMessage.SESSION_CLOSE)
        await self._inputs.publish(message)
        return message

    async def _input(self, phone: Phone, session: Session, text: Optional[str], event: str) -> TransportUserMessage:
        session.waiting = True
        self._watch(phone, session)
        self._changed(phone)
        message = self._message(phone, session, text, event).replace(message_id=session.last_id)
        try:
            await self._inputs.publish(message)
        except BrokerError:
            if phone.session is session:
                self._note(phone, "Session ended: the broker is away")
                self.end(phone, NO_SERVICE)
            raise
        return message

    def _message(self, phone: Phone, session: Session, text: Optional[str], event: str) -> TransportUserMessage:
        message = self._inputs.message(phone, session.code, "ussd", text)
        return message.replace(session_event=event, transport_metadata={"session_id": session.id})

    # -- what comes for them ----------------------------------------------------

    def show(self, phone: Phone, message: TransportUserMessage, faults: NetworkFaults) -> Optional[str]:
        """
        Put a message on a phone's screen.

        :return: the reason where that cannot be done.
        """
        session = phone.session
        if session is None:
            return "no USSD session is open"
        if message.in_reply_to is None:
            return "a USSD message must answer one of the session (in_reply_to is missing)"
        if message.in_reply_to != session.last_id:
            return "the message answers another message than the session's last"
        if not session.waiting:
            return "the session waits for the person, not for the service"
        if faults.mode == "fail":
            self._note(phone, "Session ended: it broke down in the network")
            self.end(phone, NO_SERVICE)
            return "the session broke down"
        text = message.content or ""
        length = screen_length(text, phone.screen_size)
        if length.used > length.size:
            return f"too long for a screen: {length.used} {UNIT_NAMES[length.unit]}, {length.size} fit"
        phone.steps.append(Text(message.message_id, "in", text, self._wall()))
        if message.session_event == TransportUserMessage.SESSION_CLOSE:
            self._note(phone, "Session ended by the service")
            self.end(phone, text)
        else:
            session.waiting, phone.screen = False, text
            self._watch(phone, session)
            self._changed(phone)
        return None

    # -- time -----------------------------------------------------------------------

    def _watch(self, phone: Phone, session: Session) -> None:
        """End the session when nothing happens in it any more."""
        if session.timeout is not None:
            session.timeout.reset(SESSION_TIMEOUT)
        else:
            session.timeout = self._clock.callLater(SESSION_TIMEOUT, self._time_out, phone, session)

    def _time_out(self, phone: Phone, session: Session) -> None:
        session.timeout = None
        in_background(self.hang_up(phone, f"Session timed out: nothing happened for {SESSION_TIMEOUT:g} s"))

    def end(self, phone: Phone, screen: Optional[str] = None) -> None:
        """Close the session; the screen goes on showing what came last."""
        session, phone.session = phone.session, None
        if session is not None and session.timeout is not None:
            session.timeout.cancel()
        phone.screen = screen
        self._changed(phone)

    def _note(self, phone: Phone, text: str) -> None:
        phone.steps.append(Text("", "note", text, self._wall()))
        self._session_changed(phone.number, text)
