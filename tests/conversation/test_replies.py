"""The outbound message that a request of Turn's becomes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.configuration.fields import ConfigErrors
from vumi_turn.conversation.replies import NewMessages, outbound_message
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.vumi.messages import TransportUserMessage

WHEN = datetime(2021, 8, 7, 12, 0, tzinfo=timezone.utc)


def new_messages(**fields: Any) -> NewMessages:
    """As a channel's configuration says it."""
    return NewMessages("8864", "ussd_8864", "sms", fields)


def built(
    new: NewMessages,
    original: Optional[TransportUserMessage] = None,
    from_addr: Optional[str] = None,
    session_event: str = "close",
) -> TransportUserMessage:
    """What a request for "Hi" to +266 becomes."""
    request = OutboundRequest(to="+266", from_addr=from_addr, reply_to=None, text="Hi", waiting_for_user_input=False)
    return outbound_message(
        request, original, new, text="Hi", session_event=session_event, message_id="m1", timestamp=WHEN
    )


class OutboundMessageTests(SynchronousTestCase):
    def test_new(self) -> None:
        """A message that answers none has the channel's sender, transport and type, and its own id and time."""
        message = built(new_messages())
        self.assertEqual((message.to_addr, message.content, message.from_addr), ("+266", "Hi", "8864"))
        self.assertEqual((message.transport_name, message.transport_type), ("ussd_8864", "sms"))
        self.assertEqual((message.message_id, message.timestamp, message.in_reply_to), ("m1", WHEN, None))

    def test_sender_that_turn_names(self) -> None:
        """Turn may name the sender of a message that answers none."""
        self.assertEqual(built(new_messages(), from_addr="555").from_addr, "555")

    def test_session_event(self) -> None:
        """What it means for the session is said, as a reply or not."""
        original = TransportUserMessage.send("8864", "Hello", from_addr="+266", session_event="new")
        for message in (None, original):
            events = [
                built(new_messages(), message, session_event=event).session_event for event in ("resume", "close")
            ]
            self.assertEqual(events, ["resume", "close"])

    def test_reply(self) -> None:
        """A reply is its original's, whatever the channel or Turn says of new messages."""
        original = TransportUserMessage.send(
            "*120#", "Hello", from_addr="+266", transport_name="t", transport_type="ussd", message_id="in"
        )
        message = built(new_messages(transport_name="other", from_addr="1"), original, from_addr="2")
        self.assertEqual((message.from_addr, message.in_reply_to, message.message_id), ("*120#", "in", "m1"))
        self.assertEqual((message.transport_name, message.transport_type, message.timestamp), ("t", "ussd", WHEN))

    def test_send_to(self) -> None:
        """What send_to says of them stands in new messages, in place of what the channel and Turn say."""
        fields = {
            "transport_name": "sms_out",
            "from_addr": "1",
            "transport_type": "ussd",
            "provider": "econet",
            "helper_metadata": {"tag": ["pool", "t"]},
            "x": 1,
        }
        message = built(new_messages(**fields), from_addr="2")
        found = message.to_dict()
        self.assertEqual({name: found[name] for name in fields}, fields)

    def test_send_to_says_nothing_of_each_message(self) -> None:
        """Whom it is for, what it says, its id and its session are not send_to's to say."""
        message = built(
            new_messages(to_addr="x", content="x", message_id="x", session_event="new", in_reply_to="x", connector="c")
        )
        self.assertEqual((message.to_addr, message.content, message.message_id), ("+266", "Hi", "m1"))
        self.assertEqual((message.session_event, message.in_reply_to), ("close", None))
        self.assertNotIn("connector", message.to_dict())

    def test_wrong(self) -> None:
        """A field of the wrong type is found at the start, not at Turn's first POST."""
        error = self.assertRaises(ConfigErrors, new_messages, helper_metadata="tag")
        self.assertIn("send_to default: helper_metadata", error.errors[0])
