"""
What every message cache does, whatever it is made of: mixed into a test case
for each.
"""

from __future__ import annotations

from typing import Any, Optional

from vumi_turn.caches import MessageCache
from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.vumi.messages import TransportUserMessage

PERSON = "+26612345678"
OTHER_PERSON = "+27831112222"
SERVICE = "*120*8864#"


def inbound(
    number: int,
    second: int = 0,
    from_addr: Optional[str] = PERSON,
    session_event: Optional[str] = "resume",
    content: Optional[str] = "what the person said",
    **fields: Any,
) -> TransportUserMessage:
    """A person's message; ``number`` makes its id, ``second`` its timestamp."""
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
            "transport_metadata": {"session_id": f"s{number}"},
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
        await self.cache.add_inbound(message, False)
        await self.cache.add_inbound(inbound(2, from_addr=OTHER_PERSON), False)
        found = await self.cache.get_inbound(message.message_id)
        assert found is not None
        self.assertEqual(found.to_dict(), {**message.to_dict(), "content": None})

    async def test_content_is_not_kept(self) -> None:
        """Neither look-up brings back what the person said."""
        await self.cache.add_inbound(inbound(1, content="a secret"), False)
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
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.add_inbound(inbound(2, 2), False)
        await self.cache.add_inbound(inbound(3, 3, from_addr=OTHER_PERSON), False)
        self.assertEqual(await self.last_id(), f"{2:032x}")
        self.assertEqual(await self.last_id(OTHER_PERSON), f"{3:032x}")

    async def test_plus_makes_no_difference(self) -> None:
        """An address is the same person with and without a leading plus, whichever came first."""
        await self.cache.add_inbound(inbound(1, from_addr="+26612345678"), False)
        await self.cache.add_inbound(inbound(2, from_addr="27831112222"), False)
        for address in ("26612345678", "+26612345678"):
            self.assertEqual(await self.last_id(address), f"{1:032x}")
        for address in ("27831112222", "+27831112222"):
            self.assertEqual(await self.last_id(address), f"{2:032x}")

    async def test_address_of_any_characters(self) -> None:
        """An address need not be a number, nor ASCII."""
        await self.cache.add_inbound(inbound(1, from_addr="Zoë: *@x \n"), False)
        self.assertEqual(await self.last_id("Zoë: *@x \n"), f"{1:032x}")
        self.assertIsNone(await self.last_id("Zoë"))

    async def test_nobody(self) -> None:
        """A message without a sender is found by its id, and is nobody's last one."""
        await self.cache.add_inbound(inbound(1, from_addr=None), False)
        await self.cache.close_session(None)
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertIsNone(await self.last_id(None))
        self.assertIsNone(await self.last_id(""))

    async def test_close_from_the_person(self) -> None:
        """A message that closes the session is found by its id, but is no last message."""
        await self.cache.add_inbound(inbound(1, 1, session_event="new"), False)
        await self.cache.add_inbound(inbound(2, 2, session_event="close"), False)
        self.assertIsNone(await self.last_id())
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))
        self.assertTrue(await self.cache.get_inbound(f"{2:032x}"))

    async def test_close_session(self) -> None:
        """Closing a session hides that person's last message only, and leaves it known by id."""
        await self.cache.add_inbound(inbound(1), False)
        await self.cache.add_inbound(inbound(2, from_addr=OTHER_PERSON), False)
        await self.cache.close_session("26612345678")
        self.assertIsNone(await self.last_id())
        self.assertEqual(await self.last_id(OTHER_PERSON), f"{2:032x}")
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))

    async def test_close_only_the_session_that_was_meant(self) -> None:
        """With an id, a session is closed only while that message is the last one."""
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.add_inbound(inbound(2, 2), False)
        await self.cache.close_session(PERSON, f"{1:032x}")
        self.assertEqual(await self.last_id(), f"{2:032x}")
        await self.cache.close_session(PERSON, f"{2:032x}")
        self.assertIsNone(await self.last_id())

    async def test_close_of_nobody(self) -> None:
        """Closing the session of an unknown person does nothing, and does not spoil their next one."""
        await self.cache.close_session(PERSON)
        await self.cache.add_inbound(inbound(1), False)
        self.assertEqual(await self.last_id(), f"{1:032x}")

    async def test_new_message_after_close(self) -> None:
        """The next message after a close opens a session."""
        await self.cache.add_inbound(inbound(1, 1, session_event="close"), False)
        await self.cache.add_inbound(inbound(2, 2, session_event="new"), False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_fresh_message_counts_by_its_place_in_the_queue(self) -> None:
        """A message delivered for the first time is the last one, though its sender's clock is behind."""
        await self.cache.add_inbound(inbound(1, 30), False)
        await self.cache.add_inbound(inbound(2, 10), False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_does_not_replace_a_newer_one(self) -> None:
        """A redelivered message leaves a newer one the last, and is found by its id."""
        await self.cache.add_inbound(inbound(2, 2), False)
        await self.cache.add_inbound(inbound(1, 1), True)
        self.assertEqual(await self.last_id(), f"{2:032x}")
        self.assertTrue(await self.cache.get_inbound(f"{1:032x}"))

    async def test_redelivered_replaces_an_older_one(self) -> None:
        """A redelivered message that is newer than the last one becomes the last."""
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.add_inbound(inbound(2, 2), True)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_in_the_same_moment(self) -> None:
        """Of two messages with one timestamp the one that came second stays the last when both come again."""
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.add_inbound(inbound(2, 1), False)
        await self.cache.add_inbound(inbound(1, 1), True)
        self.assertEqual(await self.last_id(), f"{2:032x}")
        await self.cache.add_inbound(inbound(2, 1), True)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_redelivered_does_not_reopen(self) -> None:
        """A session that we closed stays closed when its last message comes again."""
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.close_session(PERSON, f"{1:032x}")
        await self.cache.add_inbound(inbound(1, 1), True)
        self.assertIsNone(await self.last_id())

    async def test_redelivered_does_not_reopen_after_their_close(self) -> None:
        """A session that the person closed stays closed when an earlier message comes again."""
        await self.cache.add_inbound(inbound(2, 2, session_event="close"), False)
        await self.cache.add_inbound(inbound(1, 1), True)
        self.assertIsNone(await self.last_id())

    async def test_redelivered_in_the_moment_of_the_close(self) -> None:
        """Only a message that is newer than the close opens a session again, when it is redelivered."""
        await self.cache.add_inbound(inbound(1, 5, session_event="close"), False)
        await self.cache.add_inbound(inbound(2, 5), True)
        self.assertIsNone(await self.last_id())
        await self.cache.add_inbound(inbound(3, 6), True)
        self.assertEqual(await self.last_id(), f"{3:032x}")

    async def test_redelivered_close_of_an_old_session(self) -> None:
        """A close that comes again does not close a session that was opened after it."""
        await self.cache.add_inbound(inbound(2, 2, session_event="new"), False)
        await self.cache.add_inbound(inbound(1, 1, session_event="close"), True)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_known_message_counts_as_redelivered(self) -> None:
        """A message whose id is known comes again, flagged or not."""
        await self.cache.add_inbound(inbound(1, 1), False)
        await self.cache.add_inbound(inbound(2, 2), False)
        await self.cache.add_inbound(inbound(1, 1), False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_replayed_long_after(self) -> None:
        """A message more than a minute older than the last one is an old one, flagged or not."""
        await self.cache.add_inbound(inbound(2, 600), False)
        await self.cache.add_inbound(inbound(1, 1), False)
        self.assertEqual(await self.last_id(), f"{2:032x}")

    async def test_recipient(self) -> None:
        """An outbound message's id leads to the address it went to, as it was written."""
        await self.cache.add_outbound(outbound(1, "+26612345678"))
        await self.cache.add_outbound(outbound(2, "Zoë"))
        self.assertEqual(await self.cache.get_recipient(f"{1:032x}"), "+26612345678")
        self.assertEqual(await self.cache.get_recipient(f"{2:032x}"), "Zoë")

    async def test_inbound_and_outbound_are_apart(self) -> None:
        """An inbound message has no recipient, and an outbound one cannot be replied to."""
        await self.cache.add_inbound(inbound(1), False)
        await self.cache.add_outbound(outbound(2))
        self.assertIsNone(await self.cache.get_recipient(f"{1:032x}"))
        self.assertIsNone(await self.cache.get_inbound(f"{2:032x}"))
        self.assertIsNone(await self.cache.get_last_inbound(SERVICE))

    async def test_healthy(self) -> None:
        """A cache that works says so, and how much it holds."""
        self.assertTrue(self.cache.healthy)
        await self.cache.add_inbound(inbound(1), False)
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
            self.assertTrue(part in errors, errors)
