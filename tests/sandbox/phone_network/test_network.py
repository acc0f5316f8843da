"""The simulated phone network, on a broker in memory."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.broker.interface import BrokerUnavailable
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.sandbox.phone_network.events import REPORT_DELAY
from vumi_turn.sandbox.phone_network.faults import NetworkFaults
from vumi_turn.sandbox.phone_network.network import PhoneNetwork
from vumi_turn.sandbox.phone_network.phones import PhoneError
from vumi_turn.sandbox.phone_network.ussd import NO_SERVICE, SESSION_TIMEOUT
from vumi_turn.vumi.messages import TransportEvent, TransportUserMessage

NUMBER = "+26612345678"
CODE = "*120*8864#"


class NetworkCase(SynchronousTestCase):
    """A network whose other side is the test."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_628_345_678)
        self.broker = MemoryBroker(self.clock)
        self.changes: list[str] = []
        self.network = PhoneNetwork(
            self.broker, "c", self.clock, changed=lambda phone: self.changes.append(phone.number)
        )
        self.broker.publisher("c.inbound")
        self.broker.start()
        self.network.start()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.network.stop()
        self.broker.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def turns(self, seconds: float = 0) -> None:
        """Let time pass, and the broker deliver and confirm."""
        self.clock.advance(seconds)
        for _ in range(10):
            self.clock.advance(0)

    def do(self, doing: Any) -> TransportUserMessage:
        """What a person does, once the broker has it."""
        done = ensureDeferred(doing)
        self.turns()
        message: TransportUserMessage = self.successResultOf(done)
        return message

    def refusal(self, doing: Any, *kinds: type[Exception]) -> str:
        """The sentence with which something is refused."""
        return str(self.failureResultOf(ensureDeferred(doing), *(kinds or (PhoneError,))).value)

    def inbound(self) -> list[TransportUserMessage]:
        return [TransportUserMessage.from_json(body) for body in self.broker.queue_contents("c.inbound")]

    def events(self) -> list[TransportEvent]:
        return [TransportEvent.from_json(body) for body in self.broker.queue_contents("c.event")]

    def kinds(self) -> list[Optional[str]]:
        """The events' types, or what they report."""
        return [event.delivery_status or event.event_type for event in self.events()]

    def push(self, message: TransportUserMessage) -> TransportUserMessage:
        """A message for a person comes from the broker."""
        self.broker.push("c.outbound", message.to_json())
        self.turns()
        return message

    def push_sms(self, **fields: Any) -> TransportUserMessage:
        values = {"transport_type": "sms", "from_addr": "8864", **fields}
        return self.push(TransportUserMessage.send(values.pop("to_addr", NUMBER), "Hi", **values))

    def answer_last(self, session_event: str = "resume", content: str = "1. Yes") -> TransportUserMessage:
        """The service answers the person's last message."""
        return self.push(self.inbound()[-1].reply(content, session_event=session_event))

    @property
    def phone(self) -> Any:
        return self.network.phone(NUMBER).to_dict()


class PeopleTests(NetworkCase):
    """What people do."""

    def test_sms(self) -> None:
        """An SMS becomes a message to the service's number without a session, and is on the phone."""
        message = self.do(self.network.sms(NUMBER, "Hello"))
        (sent,) = self.inbound()
        self.assertEqual(sent, message)
        self.assertEqual(
            (sent.from_addr, sent.to_addr, sent.content, sent.session_event, sent.transport_type, sent.transport_name),
            (NUMBER, "8864", "Hello", None, "sms", "c"),
        )
        self.assertEqual(sent.timestamp.timestamp(), 1_628_345_678)
        self.assertEqual([(t["direction"], t["text"]) for t in self.phone["texts"]], [("out", "Hello")])

    def test_dial(self) -> None:
        """Dialling begins a session with empty content, as legacy transports do, and waits."""
        self.do(self.network.dial(NUMBER, CODE))
        (sent,) = self.inbound()
        self.assertEqual((sent.session_event, sent.content, sent.to_addr), ("new", None, CODE))
        self.assertEqual(self.phone["session"], {"code": CODE, "waiting": True})

    def test_session(self) -> None:
        """Answers go on in the session, under the same session id, until the service closes it."""
        self.do(self.network.dial(NUMBER, CODE))
        self.answer_last(content="1. Yes")
        self.assertEqual((self.phone["screen"], self.phone["session"]["waiting"]), ("1. Yes", False))
        self.do(self.network.answer(NUMBER, "1"))
        new, resume = self.inbound()
        self.assertEqual((resume.session_event, resume.content), ("resume", "1"))
        self.assertEqual(resume.transport_metadata, new.transport_metadata)
        self.answer_last("close", "Bye")
        self.assertEqual((self.phone["screen"], self.phone["session"]), ("Bye", None))

    def test_out_of_turn(self) -> None:
        """Nobody answers without a session, or before the service has."""
        self.assertIn("no USSD session", self.refusal(self.network.answer(NUMBER, "1")))
        self.assertIn("no USSD session", self.refusal(self.network.hang_up(NUMBER)))
        self.do(self.network.dial(NUMBER, CODE))
        self.assertIn("not answered yet", self.refusal(self.network.answer(NUMBER, "1")))

    def test_hang_up(self) -> None:
        """Hanging up tells the service, and the screen is off."""
        self.do(self.network.dial(NUMBER, CODE))
        self.do(self.network.hang_up(NUMBER))
        self.assertEqual([m.session_event for m in self.inbound()], ["new", "close"])
        self.assertEqual((self.phone["screen"], self.phone["session"]), (None, None))

    def test_dial_again(self) -> None:
        """Dialling again ends the first session before the second begins."""
        self.do(self.network.dial(NUMBER, CODE))
        self.do(self.network.dial(NUMBER, CODE))
        messages = self.inbound()
        self.assertEqual([m.session_event for m in messages], ["new", "close", "new"])
        self.assertNotEqual(messages[0].transport_metadata, messages[2].transport_metadata)

    def test_time_out(self) -> None:
        """The network closes a session in which nothing happens; each sign of life prolongs it."""
        self.do(self.network.dial(NUMBER, CODE))
        self.turns(SESSION_TIMEOUT - 1)
        self.answer_last()
        self.turns(SESSION_TIMEOUT - 1)
        self.assertIsNotNone(self.phone["session"])
        self.turns(1)
        self.assertIsNone(self.phone["session"])
        self.assertEqual(self.inbound()[-1].session_event, "close")

    def test_wrong_input(self) -> None:
        """Numbers, codes and texts that no phone would take are refused with a reason."""
        network = self.network
        for doing, words in (
            (network.sms("abc", "Hi"), "3 to 15 digits"),
            (network.sms("+1", "Hi"), "3 to 15 digits"),
            (network.sms(NUMBER, ""), "needs a text"),
            (network.sms(NUMBER, "x" * 1531), "no more than 1530"),
            (network.dial(NUMBER, "120"), "starts with * and ends with #"),
            (network.dial(NUMBER, "*12a#"), "starts with * and ends with #"),
            (network.dial(NUMBER, "*" + "1" * 60 + "#"), "no more than 50"),
            (network.answer(NUMBER, "x" * 183), "no more than 182"),
        ):
            with case(doing=doing, words=words):
                self.assertIn(words, self.refusal(doing))
        self.assertEqual(self.inbound(), [])

    def test_plus_makes_no_difference(self) -> None:
        """A number with and without its + is one phone."""
        self.do(self.network.sms("26612345678", "Hello"))
        self.push_sms(to_addr="+26612345678")
        self.assertEqual(len(self.network.phones()), 1)
        self.assertEqual(len(self.phone["texts"]), 2)

    def test_looking_makes_no_phone(self) -> None:
        """A phone that is only looked at is not remembered."""
        self.assertEqual(self.phone["texts"], [])
        self.assertEqual(self.network.phones(), [])


class NetworkTests(NetworkCase):
    """What comes for people, and what the network says of it."""

    def test_sms_is_delivered(self) -> None:
        """An SMS is shown and acked at once, and reported delivered a moment later."""
        message = self.push_sms()
        self.assertEqual([t["text"] for t in self.phone["texts"]], ["Hi"])
        (ack,) = self.events()
        self.assertEqual((ack.event_type, ack.user_message_id), ("ack", message.message_id))
        self.assertTrue(ack.sent_message_id.startswith("provider-"))
        self.turns(REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack", "delivered"])

    def test_reset(self) -> None:
        """After a reset no report of what was before comes."""
        self.push_sms()
        self.network.reset()
        self.turns(2 * REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack"])
        self.push_sms()
        self.turns(REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack", "ack", "delivered"])

    def test_ussd_has_no_report(self) -> None:
        """A USSD answer is acked, and nothing is reported later."""
        self.do(self.network.dial(NUMBER, CODE))
        self.answer_last()
        self.turns(100)
        self.assertEqual(self.kinds(), ["ack"])

    def test_ussd_that_cannot_be_shown(self) -> None:
        """USSD without a session, to another message, or twice is nacked with the reason."""

        def ussd(**fields: Any) -> None:
            self.push(TransportUserMessage.send(NUMBER, "Hi", from_addr=CODE, transport_type="ussd", **fields))

        ussd(in_reply_to="m0")
        dialled = self.do(self.network.dial(NUMBER, CODE))
        ussd()
        ussd(in_reply_to="m0")
        ussd(in_reply_to=dialled.message_id)
        ussd(in_reply_to=dialled.message_id)
        reasons = [event.nack_reason or event.event_type for event in self.events()]
        self.assertEqual(
            reasons,
            [
                "no USSD session is open",
                "a USSD message must answer one of the session (in_reply_to is missing)",
                "the message answers another message than the session's last",
                "ack",
                "the session waits for the person, not for the service",
            ],
        )

    def test_no_such_phone(self) -> None:
        """A message to what is no number is nacked."""
        self.push_sms(to_addr="somebody")
        self.assertIn("3 to 15 digits", self.events()[0].nack_reason)

    def test_redelivered(self) -> None:
        """A message that the broker brings twice is shown once, with one ack."""
        message = self.push_sms()
        self.push(message)
        self.assertEqual(len(self.phone["texts"]), 1)
        self.assertEqual(self.kinds(), ["ack"])

    def test_nack(self) -> None:
        """A network that refuses nacks, and shows nothing."""
        self.network.faults = NetworkFaults("nack")
        self.push_sms()
        self.assertEqual(self.kinds(), ["nack"])
        self.assertEqual(self.phone["texts"], [])

    def test_fail(self) -> None:
        """A network that fails acks an SMS, reports that it failed, and shows nothing."""
        self.network.faults = NetworkFaults("fail")
        self.push_sms()
        self.turns(REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack", "failed"])
        self.assertEqual(self.phone["texts"], [])

    def test_fail_in_a_session(self) -> None:
        """A network that fails breaks a USSD session down."""
        self.do(self.network.dial(NUMBER, CODE))
        self.network.faults = NetworkFaults("fail")
        self.answer_last()
        self.assertEqual((self.phone["screen"], self.phone["session"]), (NO_SERVICE, None))
        self.assertEqual(self.kinds(), ["nack"])

    def test_late(self) -> None:
        """A late network acks at once, and shows and reports the SMS after its delay."""
        self.network.faults = NetworkFaults("late", delay=10)
        self.push_sms()
        self.assertEqual((self.kinds(), self.phone["texts"]), (["ack"], []))
        self.turns(10)
        self.assertEqual(len(self.phone["texts"]), 1)
        self.turns(REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack", "delivered"])

    def test_stopping_forgets_what_is_late(self) -> None:
        """Stopping leaves no timer behind, and delivers nothing more."""
        self.network.faults = NetworkFaults("late", delay=10)
        self.push_sms()
        self.do(self.network.dial(NUMBER, CODE))
        self.network.stop()
        self.turns(20)
        self.assertEqual(self.phone["texts"], [])
        self.assertIsNone(self.phone["session"])

    def test_malformed(self) -> None:
        """What is no vumi message is logged and taken out of the queue."""
        self.broker.push("c.outbound", b"junk")
        self.turns()
        self.assertEqual(self.broker.queue_contents("c.outbound"), [])
        self.assertEqual(self.events(), [])

    def test_changes_are_told(self) -> None:
        """Whoever shows phones hears of each change."""
        self.push_sms()
        self.assertEqual(self.changes, [NUMBER])


class BrokerAwayTests(NetworkCase):
    """A network without its broker."""

    def setUp(self) -> None:
        super().setUp()
        self.do(self.network.dial(NUMBER, CODE))
        self.answer_last()
        self.broker.go_away()

    def test_sms(self) -> None:
        """An SMS that nobody takes is an error, and shown as not sent."""
        self.refusal(self.network.sms(NUMBER, "Hello"), BrokerUnavailable)
        self.assertIn("not sent", self.phone["texts"][0]["error"])

    def test_session(self) -> None:
        """A session in which the person's input is lost breaks down."""
        self.refusal(self.network.answer(NUMBER, "1"), BrokerUnavailable)
        self.assertEqual((self.phone["screen"], self.phone["session"]), (NO_SERVICE, None))

    def test_events_wait(self) -> None:
        """An event is kept, and handed over when the broker is back."""
        self.broker.come_back()
        self.turns()
        self.push_sms()
        self.broker.go_away()
        self.turns(REPORT_DELAY)
        self.assertEqual(self.kinds(), ["ack", "ack"])
        self.broker.come_back()
        self.turns(1)
        self.assertEqual(self.kinds(), ["ack", "ack", "delivered"])


class SessionLinesTests(NetworkCase):
    """What is told of sessions, and of messages that do not arrive."""

    def setUp(self) -> None:
        super().setUp()
        self.notes: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.network.stop()
        self.network = PhoneNetwork(
            self.broker,
            "c",
            self.clock,
            session_changed=lambda number, text: self.notes.append(f"{number} {text}"),
            failed=lambda name, reason: self.failed.append((name, reason)),
        )
        self.network.start()

    def dial(self) -> TransportUserMessage:
        return self.do(self.network.dial(NUMBER, CODE))

    def reply(self, original: TransportUserMessage, content: str, **fields: Any) -> str:
        return self.push(original.reply(content, **fields)).message_id

    def steps(self) -> list[tuple[str, str]]:
        return [(step.direction, step.text) for step in self.network.phone(NUMBER).steps]

    def test_from_dialling_to_the_end(self) -> None:
        """Opening, what is said, and the end are lines, in order."""
        self.reply(self.dial(), "Sure?")
        said = self.do(self.network.answer(NUMBER, "1"))
        self.reply(said, "Goodbye", session_event="close")
        self.assertEqual(
            self.steps(),
            [
                ("note", f"Session opened: dialled {CODE}"),
                ("in", "Sure?"),
                ("out", "1"),
                ("in", "Goodbye"),
                ("note", "Session ended by the service"),
            ],
        )
        self.assertEqual(
            self.notes, [f"{NUMBER} Session opened: dialled {CODE}", f"{NUMBER} Session ended by the service"]
        )

    def test_other_ends(self) -> None:
        """A session that the person or time ended says which."""
        self.dial()
        self.do(self.network.hang_up(NUMBER))
        self.dial()
        self.turns(SESSION_TIMEOUT)
        ends = [text for kind, text in self.steps() if kind == "note" and "opened" not in text]
        self.assertEqual(ends, ["Session ended: the person hung up", "Session timed out: nothing happened for 120 s"])

    def test_too_long(self) -> None:
        """A text that is longer than the screen is refused with its length, counted as the network counts."""
        for text, words in (
            ("x" * 161, "too long for a screen: 161 GSM characters, 160 fit"),
            ("€" * 81, "too long for a screen: 162 GSM characters, 160 fit"),
            ("ሰ" * 71, "too long for a screen: 71 UCS-2 characters, 70 fit"),
        ):
            with case(text=text, words=words):
                name = self.reply(self.dial(), text)
                self.assertEqual(self.failed[-1], (name, words))
        self.reply(self.dial(), "x" * 160)
        self.assertEqual((len(self.failed), self.network.phone(NUMBER).screen), (3, "x" * 160))

    def test_length(self) -> None:
        """A phone says how much of its screen is taken."""
        self.reply(self.dial(), "{Sure}?")
        self.assertEqual(
            self.network.phone(NUMBER).to_dict()["screen_length"], {"used": 9, "size": 160, "unit": "GSM characters"}
        )
