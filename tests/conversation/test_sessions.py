"""What the bridge asks of the message cache: answers, ends of sessions, recipients."""

from __future__ import annotations

from typing import Any, Coroutine, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.caches import CacheUnavailable
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.conversation.sessions import Sessions
from vumi_turn.http.errors import ApiUsageError
from vumi_turn.turn.errors import CacheUnavailableError, MessageNotFound
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.vumi.messages import TransportUserMessage

PERSON = "+26612345678"


class Cache(MemoryMessageCache):
    """One that can be away, or have a bug."""

    trouble_is: Optional[Exception] = None

    def _check(self) -> None:
        if self.trouble_is is not None:
            raise self.trouble_is

    async def get_inbound(self, message_id: str) -> Optional[TransportUserMessage]:
        self._check()
        return await super().get_inbound(message_id)

    async def get_last_inbound(self, address: Optional[str]) -> Optional[TransportUserMessage]:
        self._check()
        return await super().get_last_inbound(address)

    async def get_recipient(self, message_id: str) -> Optional[str]:
        self._check()
        return await super().get_recipient(message_id)

    async def close_session(self, address: Optional[str], message_id: Optional[str] = None) -> None:
        self._check()
        await super().close_session(address, message_id)


def request(to: str = PERSON, reply_to: Optional[str] = None) -> OutboundRequest:
    """What Turn POSTs."""
    return OutboundRequest(to=to, from_addr=None, reply_to=reply_to, text="Hi", waiting_for_user_input=False)


class SessionsCase(SynchronousTestCase):
    """Sessions of a cache in memory."""

    def setUp(self) -> None:
        self.cache = Cache({}, Clock())
        self.unknown: list[None] = []
        self.sessions = Sessions(self.cache, lambda: self.unknown.append(None))

    def run_now(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.successResultOf(ensureDeferred(coroutine))

    def heard(self, message_id: str, session_event: Optional[str] = None) -> TransportUserMessage:
        """A message from the person, which the cache knows."""
        message = TransportUserMessage.send(
            "*120#", "Hello", from_addr=PERSON, message_id=message_id, session_event=session_event
        )
        self.run_now(self.cache.add_inbound(message))
        return message


class OriginalTests(SessionsCase):
    def original(self, *args: Any, **kwargs: Any) -> Optional[str]:
        found = self.run_now(self.sessions.original_of(request(*args, **kwargs)))
        return None if found is None else found.message_id

    def refused(self, error: type[Exception], *args: Any, **kwargs: Any) -> None:
        self.failureResultOf(ensureDeferred(self.sessions.original_of(request(*args, **kwargs))), error)

    def test_last(self) -> None:
        """Without reply_to it is the person's last message, with and without a plus."""
        self.heard("first")
        self.heard("last")
        self.assertEqual((self.original(), self.original("26612345678")), ("last", "last"))
        self.assertIsNone(self.original("+999"))

    def test_named(self) -> None:
        """With reply_to it is that message, and nobody else's."""
        self.heard("first")
        self.heard("last")
        self.assertEqual(self.original(reply_to="first"), "first")
        self.refused(MessageNotFound, reply_to="unknown")
        self.refused(ApiUsageError, "+999", reply_to="first")

    def test_cache_away(self) -> None:
        """A named message cannot be looked up now; without a name the message goes unlinked."""
        self.heard("first")
        self.cache.trouble_is = CacheUnavailable()
        self.assertIsNone(self.original())
        self.refused(CacheUnavailableError, reply_to="first")


class EndTests(SessionsCase):
    def ended(self, answered: TransportUserMessage, session_event: Optional[str] = "close") -> Optional[str]:
        """The id of the last message of the session that an answer ends."""
        found = self.run_now(self.sessions.ended_by(answered.reply("Bye", session_event)))
        return None if found is None else found.message_id

    def test_its_own(self) -> None:
        """An answer ends the session of the message that it answers, if it says so."""
        message = self.heard("first", "new")
        self.assertEqual(self.ended(message), "first")
        self.assertIsNone(self.ended(message, "resume"))

    def test_earlier_message(self) -> None:
        """An answer to an earlier message of the session ends it too."""
        first = self.heard("first", "new")
        self.heard("second", "resume")
        self.assertEqual(self.ended(first), "second")

    def test_another_session(self) -> None:
        """It ends no session that was opened later, and no later message without a session."""
        first = self.heard("first", "new")
        for session_event in ("new", None):
            self.heard("later", session_event)
            self.assertIsNone(self.ended(first))

    def test_answer_to_none(self) -> None:
        """What answers no message ends no session."""
        self.heard("first", "new")
        message = TransportUserMessage.send(PERSON, "Bye", session_event="close")
        self.assertIsNone(self.run_now(self.sessions.ended_by(message)))

    def test_end(self) -> None:
        """After that the person's last message is not answered any more."""
        last = self.heard("first", "new")
        self.run_now(self.sessions.end(last.reply("Bye", "close"), last))
        self.assertIsNone(self.run_now(self.sessions.original_of(request())))

    def test_end_fails(self) -> None:
        """Whatever the cache then does, the message is not published again for it."""
        last = self.heard("first", "new")
        self.cache.trouble_is = ZeroDivisionError("a cache's bug")
        self.run_now(self.sessions.end(last.reply("Bye", "close"), last))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class RecipientTests(SessionsCase):
    def test_known(self) -> None:
        """A status is about the person whom the message went to."""
        self.run_now(self.cache.add_outbound(TransportUserMessage.send(PERSON, "Hi", message_id="m1")))
        self.assertEqual(self.run_now(self.sessions.recipient_of("m1")), PERSON)
        self.assertEqual(self.unknown, [])

    def test_unknown(self) -> None:
        """One that the cache does not know, or cannot say, is counted."""
        self.assertIsNone(self.run_now(self.sessions.recipient_of("m1")))
        self.cache.trouble_is = CacheUnavailable()
        self.assertIsNone(self.run_now(self.sessions.recipient_of("m1")))
        self.assertEqual(len(self.unknown), 2)
