"""What the bridge asks of the message cache: answers, ends of sessions, recipients."""

from __future__ import annotations

from typing import Any, Coroutine, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
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

    async def close_session(self, address: Optional[str], message_id: str) -> None:
        self._check()
        await super().close_session(address, message_id)

    async def advance_status(self, message_id: str, final: bool) -> bool:
        self._check()
        return await super().advance_status(message_id, final)


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
        """Neither a named message nor the last one can be looked up now: Turn is to ask again."""
        self.heard("first")
        self.cache.trouble_is = CacheUnavailable()
        self.refused(CacheUnavailableError)
        self.refused(CacheUnavailableError, reply_to="first")


class EndTests(SessionsCase):
    def last(self) -> Optional[str]:
        """The id of the message that a message to the person answers."""
        found = self.run_now(self.sessions.original_of(request()))
        return None if found is None else found.message_id

    def test_close(self) -> None:
        """An answer that closes ends the session of the message that it answers; another one does not."""
        message = self.heard("first", "new")
        self.run_now(self.sessions.end(message.reply("More", "resume")))
        self.assertEqual(self.last(), "first")
        self.run_now(self.sessions.end(message.reply("Bye", "close")))
        self.assertIsNone(self.last())

    def test_close_by_an_earlier_message(self) -> None:
        """An answer to an earlier message of the session ends it too."""
        first = self.heard("first", "new")
        self.heard("second", "resume")
        self.run_now(self.sessions.end(first.reply("Bye", "close")))
        self.assertIsNone(self.last())

    def test_another_session(self) -> None:
        """It ends no session that was opened later, and no later message without a session."""
        first = self.heard("first", "new")
        for name, session_event in (("later", "new"), ("sms", None)):
            with case(name=name, session_event=session_event):
                self.heard(name, session_event)
                self.run_now(self.sessions.end(first.reply("Bye", "close")))
                self.assertEqual(self.last(), name)

    def test_sms(self) -> None:
        """An answer to an SMS ends nothing: the next message is a reply too."""
        message = self.heard("sms", None)
        self.run_now(self.sessions.end(message.reply("One", "close")))
        self.assertEqual(self.last(), "sms")

    def test_answer_to_none(self) -> None:
        """What answers no message ends no session."""
        self.heard("first", "new")
        self.run_now(self.sessions.end(TransportUserMessage.send(PERSON, "Bye", session_event="close")))
        self.assertEqual(self.last(), "first")

    def test_end_fails(self) -> None:
        """Whatever the cache then does, the message is not published again for it."""
        last = self.heard("first", "new")
        self.cache.trouble_is = ZeroDivisionError("a cache's bug")
        self.run_now(self.sessions.end(last.reply("Bye", "close")))
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


class StatusTests(SessionsCase):
    def test_backwards(self) -> None:
        """Sent is no news after delivered or failed; the others always are, and each message has its own."""
        for final in ("delivered", "failed"):
            with case(final=final):
                news = [self.run_now(self.sessions.is_news(final, status)) for status in ("sent", final, "sent", final)]
                self.assertEqual(news, [True, True, False, True])

    def test_cache_away(self) -> None:
        """What cannot be looked up is sent."""
        self.cache.trouble_is = CacheUnavailable()
        self.assertTrue(self.run_now(self.sessions.is_news("m1", "sent")))
