"""
What every message cache does, whatever it is made of: mixed into a test case
for each.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import ensureDeferred, gatherResults

from tests.cases import case
from vumi_turn.caches import MessageCache
from vumi_turn.caches.documents import Change, Kind, Lifetime
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.vumi.messages import TransportUserMessage

PERSON = "+26612345678"
OTHER_PERSON = "+27831112222"
SERVICE = "*120*8864#"

PAGES = Kind("pages")
JOINED = Kind("joined", Lifetime.OUTBOUND_TIMEOUT)


def inbound(
    number: int,
    second: int = 0,
    from_addr: Optional[str] = PERSON,
    session_event: Optional[str] = "resume",
    content: Optional[str] = "what the person said",
    session: str = "s1",
    **fields: Any,
) -> TransportUserMessage:
    """A person's message; ``number`` makes its id, ``second`` its timestamp, ``session`` the network's session id."""
    return TransportUserMessage.from_dict(
        {
            "message_type": "user_message",
            "message_version": "20110921",
            "message_id": f"{number:032x}",
            "timestamp": f"2021-08-07 13:{second // 60:02}:{second % 60:02}.250000",
            "to_addr": SERVICE,
            "from_addr": from_addr,
            "in_reply_to": None,
            "session_event": session_event,
            "content": content,
            "transport_name": "ussd_transport",
            "transport_type": "ussd",
            "transport_metadata": {"session_id": session} if session_event else {},
            "helper_metadata": {"tag": {"pool": number}},
            "routing_metadata": {"endpoint_name": "default"},
            "group": "#room",
            "provider": "econet",
            "to_addr_type": None,
            "from_addr_type": "msisdn",
            **fields,
        }
    )


def outbound(number: int, to_addr: str = PERSON) -> TransportUserMessage:
    """A message of ours."""
    return inbound(number, from_addr=SERVICE, to_addr=to_addr, content="what we said")


class CacheContract:
    """The promises of :class:`vumi_turn.caches.MessageCache`."""

    cache: MessageCache
    assertEqual: Any
    assertIsNone: Any
    assertTrue: Any
    assertFalse: Any
    assertRaises: Any

    def make_cache(self, **options: Any) -> MessageCache:
        """A cache of the kind that is tested, not started."""
        raise NotImplementedError

    async def last_id(self, address: Optional[str] = PERSON) -> Optional[str]:
        """The id of the message that a reply to this person would answer."""
        message = await self.cache.get_last_inbound(address)
        return None if message is None else message.message_id

    async def test_by_id(self) -> None:
        """An inbound message is found by its id, with all that a reply takes from it."""
        message = inbound(1)
        await self.cache.add_inbound(message)
        await self.cache.add_inbound(inbound(2, from_addr=OTHER_PERSON))
        found = await self.cache.get_inbound(message.message_id)
        assert found is not None
        self.assertEqual(found.to_dict(), {**message.to_dict(), "content": None})

    async def test_content_is_not_kept(self) -> None:
        """Neither look-up brings back what the person said."""
        await self.cache.add_inbound(inbound(1, content="a secret"))
        by_id = await self.cache.get_inbound(f"{1:032x}")
        by_address = await self.cache.get_last_inbound(PERSON)
        assert by_id is not None and by_address is not None
        self.assertEqual((by_id.content, by_address.content), (None, None))

    async def test_unknown(self) -> None:
        """What was never added is None for each look-up."""
        self.assertIsNone(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.cache.get_last_inbound(PERSON))
        self.assertIsNone(await self.cache.get_recipient(f"{1:032x}"))

    async def test_last_of_each_person(self) -> None:
        """The last message is the one that came last from that person."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.add_inbound(inbound(3, 3, from_addr=OTHER_PERSON))
        self.assertEqual(await self.last_id(), f"{2:032x}")
        self.assertEqual(await self.last_id(OTHER_PERSON), f"{3:032x}")

    async def test_plus_makes_no_difference(self) -> None:
        """An address is the same person with and without a leading plus, whichever came first."""
        await self.cache.add_inbound(inbound(1, from_addr="+26612345678"))
        await self.cache.add_inbound(inbound(2, from_addr="27831112222"))
        for address in ("26612345678", "+26612345678"):
            with case(address=address):
                self.assertEqual(await self.last_id(address), f"{1:032x}")
        for address in ("27831112222", "+27831112222"):
            with case(address=address):
                self.assertEqual(await self.last_id(address), f"{2:032x}")

    async def test_address_of_any_characters(self) -> None:
        """An address need not be a number, nor ASCII."""
        await self.cache.add_inbound(inbound(1, from_addr="Zoë: *@x \n"))
        self.assertEqual(await self.last_id("Zoë: *@x \n"), f"{1:032x}")
        self.assertIsNone(await self.last_id("Zoë"))

    async def test_nobody(self) -> None:
        """A message without a sender is found by its id, and is nobody's last one."""
        await self.cache.add_inbound(inbound(1, from_addr=None))
        await self.cache.close_session(None, f"{1:032x}")
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.last_id(None))
        self.assertIsNone(await self.last_id(""))

    # -- sessions that people end ---------------------------------------------------

    async def test_close_from_the_person(self) -> None:
        """A message that closes the session is found by its id, but is no last message."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new"))
        await self.cache.add_inbound(inbound(2, 2, session_event="close"))
        self.assertIsNone(await self.last_id())
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertTrue(await self.cache.get_inbound(f"{2:032x}"))

    async def test_late_close_of_another_session(self) -> None:
        """A close whose metadata names an earlier session leaves the later one open, with content or without."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new", session="s1"))
        await self.cache.add_inbound(inbound(2, 2, session_event="new", session="s2"))
        await self.cache.add_inbound(inbound(3, 3, session_event="close", session="s1"))
        await self.cache.add_inbound(inbound(4, 4, session_event="close", session="s1", content=None))
        self.assertEqual(await self.last_id(), f"{2:032x}")
        await self.cache.add_inbound(inbound(5, 5, session_event="close", session="s2"))
        self.assertIsNone(await self.last_id())

    async def test_late_close_after_a_session_that_was_resumed(self) -> None:
        """A message that resumes belongs to the session that its metadata names, though its beginning was not seen."""
        await self.cache.add_inbound(inbound(1, 1, session="s1"))
        await self.cache.add_inbound(inbound(2, 2, session="s2"))
        await self.cache.add_inbound(inbound(3, 3, session_event="close", session="s1"))
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_close_that_names_no_session(self) -> None:
        """A close that cannot be told apart ends the latest session; values that differ within one tell nothing."""
        for number, metadata in ((1, {}), (3, {"airtel": {"clean": "true"}}), (5, {"n": 5, "shortcode": "120"})):
            with case(number=number, metadata=metadata):
                begin = {"airtel": {"MSC": "m"}} if number == 3 else {"n": 1, "shortcode": "120"}
                await self.cache.add_inbound(inbound(number, number, session_event="new", transport_metadata=begin))
                again = {**begin, "n": 2}
                await self.cache.add_inbound(inbound(10 + number, 10 + number, transport_metadata=again))
                await self.cache.add_inbound(
                    inbound(20 + number, 20 + number, session_event="close", transport_metadata=metadata)
                )
                self.assertIsNone(await self.last_id())

    async def test_close_beside_an_sms(self) -> None:
        """A close ends no conversation by SMS: the person's SMS stays what a message is a reply to."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new"))
        await self.cache.add_inbound(inbound(2, 2, session_event=None))
        await self.cache.add_inbound(inbound(3, 3, session_event="close"))
        self.assertEqual(await self.last_id(), f"{2:032x}")
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_new_message_after_close(self) -> None:
        """The next message after a close opens a session."""
        await self.cache.add_inbound(inbound(1, 1, session_event="close"))
        await self.cache.add_inbound(inbound(2, 2, session_event="new"))
        self.assertEqual(await self.last_id(), f"{2:032x}")

    # -- sessions that we end ---------------------------------------------------------

    async def test_close_session(self) -> None:
        """Closing a session hides that person's last message only, and leaves it known by id."""
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_inbound(inbound(2, from_addr=OTHER_PERSON))
        await self.cache.close_session("26612345678", f"{1:032x}")
        self.assertIsNone(await self.last_id())
        self.assertEqual(await self.last_id(OTHER_PERSON), f"{2:032x}")
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))

    async def test_close_session_by_an_earlier_message(self) -> None:
        """Any message of the session says which one is closed."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new"))
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertIsNone(await self.last_id())

    async def test_close_session_that_is_over(self) -> None:
        """A message of an earlier session closes no later one, nor a later SMS."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new", session="s"))
        await self.cache.add_inbound(inbound(2, 2, session_event="new", session="s"))
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertEqual(await self.last_id(), f"{2:032x}")
        await self.cache.add_inbound(inbound(3, 3, session_event=None))
        await self.cache.close_session(PERSON, f"{2:032x}")
        self.assertEqual(await self.last_id(), f"{3:032x}")

    async def test_close_session_twice(self) -> None:
        """A session that went on after our close is another one, which the same close does not end again."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new"))
        await self.cache.close_session(PERSON, f"{1:032x}")
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_sms_has_no_session(self) -> None:
        """An answer to an SMS ends nothing: the next one is a reply too."""
        await self.cache.add_inbound(inbound(1, session_event=None))
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertEqual(await self.last_id(), f"{1:032x}")

    async def test_close_of_nobody(self) -> None:
        """Closing the session of an unknown message does nothing, and does not spoil the person's next one."""
        await self.cache.close_session(PERSON, f"{9:032x}")
        await self.cache.add_inbound(inbound(1))
        await self.cache.close_session(PERSON, f"{9:032x}")
        self.assertEqual(await self.last_id(), f"{1:032x}")

    # -- which message is the latest ------------------------------------------------------

    async def test_first_delivery_is_the_latest(self) -> None:
        """A message delivered for the first time is the last one, however wrong its sender's clock is."""
        for number, second in ((1, 3000), (2, 1), (3, 2000)):
            with case(number=number, second=second):
                await self.cache.add_inbound(inbound(number, second))
                self.assertEqual(await self.last_id(), f"{number:032x}")

    async def test_first_delivery_after_a_clock_was_ahead(self) -> None:
        """The same where the first message's session was closed, and the next one opens another."""
        await self.cache.add_inbound(inbound(1, 3000, session_event="new"))
        await self.cache.add_inbound(inbound(2, 3001, session_event="close"))
        await self.cache.add_inbound(inbound(3, 1, session_event="new", session="s2"))
        self.assertEqual(await self.last_id(), f"{3:032x}")

    async def test_redelivered_does_not_replace_a_newer_one(self) -> None:
        """A redelivered message leaves a newer one the last, and is found by its id."""
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.add_inbound(inbound(1, 1), first=False)
        self.assertEqual(await self.last_id(), f"{2:032x}")
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))

    async def test_redelivered_replaces_an_older_one(self) -> None:
        """A redelivered message that is newer than the last one becomes the last."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.add_inbound(inbound(2, 2), first=False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_in_the_same_moment(self) -> None:
        """Of two messages with one timestamp the one that came second stays the last when both come again."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.add_inbound(inbound(2, 1))
        for number in (1, 2):
            with case(number=number):
                await self.cache.add_inbound(inbound(number, 1), first=False)
                self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_with_a_clock_that_was_ahead(self) -> None:
        """A message that was known keeps its place when it comes again, whatever its timestamp says."""
        await self.cache.add_inbound(inbound(1, 3000))
        await self.cache.add_inbound(inbound(2, 1))
        await self.cache.add_inbound(inbound(1, 3000), first=False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_does_not_reopen(self) -> None:
        """A session that we closed stays closed when a message of it comes again, known or not."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.close_session(PERSON, f"{1:032x}")
        await self.cache.add_inbound(inbound(1, 1), first=False)
        self.assertIsNone(await self.last_id())
        await self.cache.add_inbound(inbound(2, 2), first=False)
        self.assertIsNone(await self.last_id())

    async def test_redelivered_does_not_reopen_after_their_close(self) -> None:
        """A session that the person closed stays closed when an earlier message comes again."""
        await self.cache.add_inbound(inbound(2, 2, session_event="close"))
        await self.cache.add_inbound(inbound(1, 1), first=False)
        self.assertIsNone(await self.last_id())
        await self.cache.add_inbound(inbound(3, 2), first=False)
        self.assertIsNone(await self.last_id())

    async def test_redelivered_message_of_another_session(self) -> None:
        """A newer message of another session opens that one, also when it is redelivered."""
        await self.cache.add_inbound(inbound(1, 1, session_event="close", session="s1"))
        await self.cache.add_inbound(inbound(2, 2, session_event="new", session="s2"), first=False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_close_of_an_old_session(self) -> None:
        """A close that comes again does not close a session that was opened after it."""
        await self.cache.add_inbound(inbound(2, 2, session_event="new"))
        await self.cache.add_inbound(inbound(1, 1, session_event="close"), first=False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_known_message_comes_again(self) -> None:
        """A message whose id and timestamp are known comes again, flagged or not."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.add_inbound(inbound(1, 1))
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_id_used_twice(self) -> None:
        """A transport that uses one id for two messages has sent two."""
        await self.cache.add_inbound(inbound(1, 1))
        await self.cache.add_inbound(inbound(2, 2))
        await self.cache.add_inbound(inbound(1, 3))
        self.assertEqual(await self.last_id(), f"{1:032x}")

    # -- messages of ours --------------------------------------------------------------------

    async def test_status_goes_forward(self) -> None:
        """Sent is no news once a message was delivered or has failed; everything else is."""
        self.assertTrue(await self.cache.advance_status("m1", final=False))
        self.assertTrue(await self.cache.advance_status("m1", final=False))
        self.assertTrue(await self.cache.advance_status("m1", final=True))
        self.assertFalse(await self.cache.advance_status("m1", final=False))
        self.assertTrue(await self.cache.advance_status("m1", final=True))
        self.assertTrue(await self.cache.advance_status("m2", final=False))

    async def test_recipient(self) -> None:
        """An outbound message's id leads to the address it went to, as it was written."""
        await self.cache.add_outbound(outbound(1, "+26612345678"))
        await self.cache.add_outbound(outbound(2, "Zoë"))
        self.assertEqual(await self.cache.get_recipient(f"{1:032x}"), "+26612345678")
        self.assertEqual(await self.cache.get_recipient(f"{2:032x}"), "Zoë")

    async def test_inbound_and_outbound_are_apart(self) -> None:
        """An inbound message has no recipient, and an outbound one cannot be replied to."""
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_outbound(outbound(2))
        self.assertIsNone(await self.cache.get_recipient(f"{1:032x}"))
        self.assertIsNone(await self.cache.get_inbound(f"{2:032x}"))
        self.assertIsNone(await self.cache.get_last_inbound(SERVICE))

    async def test_latest_session(self) -> None:
        """Whether a message is in its sender's latest session, and that is open; None where it is not known."""
        asked = self.cache.is_in_latest_session
        self.assertIsNone(await asked(PERSON, f"{1:032x}"))
        await self.cache.add_inbound(inbound(1, session_event="new"))
        await self.cache.add_inbound(inbound(2, session_event="resume"))
        self.assertEqual([await asked(PERSON, f"{number:032x}") for number in (1, 2, 9)], [True, True, None])
        await self.cache.add_inbound(inbound(3, session_event="new", session="s2"))
        await self.cache.add_inbound(inbound(4, session_event="resume", session="s2"))
        self.assertEqual([await asked(PERSON, f"{number:032x}") for number in (1, 2, 4)], [False, False, True])
        await self.cache.close_session(PERSON, f"{4:032x}")
        self.assertEqual(await asked(PERSON, f"{4:032x}"), False)

    # -- documents -----------------------------------------------------------------------------

    async def test_documents(self) -> None:
        """A document is found under its kind and key as it was written, the last time."""
        value = {"pages": ["a", "ሰላም"], "shown": 1, "more": None, "nested": {"x": [1.5, True]}}
        await self.cache.documents.put(PAGES, {"k": {"old": 1}})
        await self.cache.documents.put(PAGES, {"k": value, "k:2": [1]})
        await self.cache.documents.put(JOINED, {"k": "other"})
        self.assertEqual(await self.cache.documents.get(PAGES, "k"), value)
        self.assertEqual(await self.cache.documents.get(PAGES, "k:2"), [1])
        self.assertEqual(await self.cache.documents.get(JOINED, "k"), "other")
        self.assertIsNone(await self.cache.documents.get(PAGES, "other"))

    async def test_documents_and_messages_are_apart(self) -> None:
        """A document has nothing to do with what is known of a person or a message, whatever its kind is called."""
        await self.cache.add_inbound(inbound(1))
        for name in ("person", "in", "out", "final", "worker", "request"):
            await self.cache.documents.put(Kind(name), {PERSON: {"menu": 1}, "26612345678": 1, f"{1:032x}": 2})
        last = await self.cache.get_last_inbound(PERSON)
        self.assertEqual(None if last is None else last.message_id, f"{1:032x}")
        await self.cache.add_inbound(inbound(2))
        self.assertEqual(await self.cache.documents.get(Kind("person"), "26612345678"), 1)

    async def test_document_removed(self) -> None:
        """None removes a document, by put and by update."""
        await self.cache.documents.put(PAGES, {"a": 1, "b": 2})
        await self.cache.documents.put(PAGES, {"a": None})
        gone = await self.cache.documents.update(PAGES, "b", lambda document: Change(None, document))
        self.assertEqual(gone, 2)
        self.assertIsNone(await self.cache.documents.get(PAGES, "a"))
        self.assertIsNone(await self.cache.documents.get(PAGES, "b"))

    async def test_document_updated(self) -> None:
        """A change sees what is there, and its result is given back."""
        found = []
        for _ in range(3):
            found.append(
                await self.cache.documents.update(
                    PAGES, "k", lambda document: Change((document or 0) + 1, f"was {document}")
                )
            )
        self.assertEqual(found, ["was None", "was 1", "was 2"])
        self.assertEqual(await self.cache.documents.get(PAGES, "k"), 3)

    async def test_document_updated_at_once(self) -> None:
        """No change is lost, however many there are at the same time."""
        changes = [
            ensureDeferred(self.cache.documents.update(PAGES, "k", lambda document: Change((document or 0) + 1, None)))
            for _ in range(20)
        ]
        await gatherResults(changes)
        self.assertEqual(await self.cache.documents.get(PAGES, "k"), 20)

    # -- the cache itself --------------------------------------------------------------------------

    async def test_healthy(self) -> None:
        """A cache that works says so, and how much it holds."""
        self.assertTrue(self.cache.healthy)
        await self.cache.add_inbound(inbound(1))
        await self.cache.add_outbound(outbound(2))
        self.assertEqual(self.cache.size, 2)

    async def test_all_wrong_options_are_named(self) -> None:
        """Every wrong option is named at once, with what is expected; an unknown one with its neighbour."""
        wrong = {"timeout": "soon", "outbound_timeout": 0, "max_messages": True, "max_mesages": 1}
        with self.assertRaises(ConfigErrors) as raised:
            self.make_cache(**wrong)
        errors = "\n".join(raised.exception.errors)
        self.assertEqual(len(raised.exception.errors), 4)
        for part in (
            "message_cache_config.timeout must be a number, not 'soon'",
            "message_cache_config.outbound_timeout must be a number greater than 0, not 0",
            "message_cache_config.max_messages must be a whole number, not True",
            "message_cache_config.max_mesages is not an option of this cache; did you mean max_messages?",
        ):
            with case(part=part):
                self.assertTrue(part in errors, errors)
