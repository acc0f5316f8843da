"""Each flow through the real command, RabbitMQ and HTTP."""

from __future__ import annotations

import json
import threading
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.bridge_case import FROM_ADDR, TOKEN, BridgeCase
from tests.integration.http_peer import outbound
from tests.integration.turn_server import NUMBER, TurnResponse
from tests.integration.vumi_words import SERVICE, event, inbound, new_id, new_person, unix_seconds
from tests.integration.waiting import wait_for

EMOJI = "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f1f1\U0001f1f8 Lumela \u00e9\u4e2d"

#: Counts messages that answered an input and did not wait, once the broker has them.
JOINED = 'vumi_turn_parts_total{outcome="joined"}'

#: Every key of a user message of ours.
USER_MESSAGE_KEYS = {
    "message_type", "message_version", "message_id", "timestamp", "to_addr", "from_addr", "in_reply_to",
    "session_event", "content", "transport_name", "transport_type", "transport_metadata",
    "helper_metadata", "routing_metadata", "group", "provider", "to_addr_type", "from_addr_type",
}  # fmt: skip


class InboundTests(BridgeCase):
    """From a person to Turn."""

    connector = "flows_in"

    def test_message(self) -> None:
        """A person's message reaches Turn, complete and authorized, and leaves the queue."""
        message = self.say(inbound(content="Hello"))
        request = self.turn.wait_for("messages", message["message_id"])
        person = message["from_addr"]
        self.assertEqual(request.path, f"/v1/numbers/{NUMBER}/messages")
        self.assertEqual(request.headers["authorization"], f"Bearer {TOKEN}")
        self.assertEqual(request.headers["content-type"].split(";")[0], "application/json")
        self.assertEqual(
            request.json,
            {
                "contact": {"id": person, "profile": {"name": person}},
                "message": {
                    "type": "text",
                    "text": {"body": "Hello"},
                    "from": person,
                    "id": message["message_id"],
                    "timestamp": unix_seconds(message["timestamp"]),
                },
            },
        )
        wait_for(lambda: self.rig.held("inbound") == 0, "the message to be acknowledged")
        self.nothing_sent()

    def test_contact_name(self) -> None:
        """The name that a transport gives is the contact's name at Turn."""
        message = self.say(inbound(helper_metadata={"contact_name": "Palesa"}))
        self.assertEqual(
            self.delivered(message)["contact"],
            {"id": message["from_addr"], "profile": {"name": "Palesa"}},
        )

    def test_no_content(self) -> None:
        """Where a session begins without words, Turn gets what was dialled."""
        for content in (None, ""):
            message = self.say(inbound(content=content, session_event="new"))
            self.assertEqual(self.delivered(message)["message"]["text"], {"body": SERVICE})

    def test_empty_close(self) -> None:
        """A session's end without words is nothing to send; with words it is sent."""
        empty = self.say(inbound(content=None, session_event="close"))
        spoken = self.say(inbound(content="bye", session_event="close"))
        self.assertEqual(self.delivered(spoken)["message"]["text"], {"body": "bye"})
        wait_for(lambda: self.rig.held("inbound") == 0, "both messages to be acknowledged")
        self.assertNotIn(empty["message_id"], [m["message"]["id"] for m in self.turn.messages()])

    def test_timestamps(self) -> None:
        """A timestamp is understood in each of the forms that senders write."""
        for timestamp, seconds in (
            ("2021-08-07 14:12:25.999999", "1628345545"),
            ("2021-08-07 14:12:25", "1628345545"),
            ("2021-08-07 14:12:25.5Z", "1628345545"),
            ("2021-08-07T14:12:25.123456", "1628345545"),
            ("2021-08-07T16:12:25+02:00", "1628345545"),
        ):
            message = self.say(inbound(timestamp=timestamp))
            self.assertEqual(self.delivered(message)["message"]["timestamp"], seconds, timestamp)

    def test_content_that_looks_like_a_date(self) -> None:
        """Words stay words, whatever they look like."""
        for content in ("2021-08-07 14:12:25.000000", "null", "1628345545", '{"a": 1}'):
            message = self.say(inbound(content=content))
            self.assertEqual(self.delivered(message)["message"]["text"]["body"], content)

    def test_long_text(self) -> None:
        """100 kB of text arrive whole."""
        content = "0123456789abcdef\u00e9\u4e2d\n" * 5_000
        message = self.say(inbound(content=content))
        self.assertTrue(len(content) >= 95_000)
        self.assertEqual(self.delivered(message)["message"]["text"]["body"], content)

    def test_emoji_in_either_spelling(self) -> None:
        """Raw UTF-8 and ASCII with escapes are the same text."""
        for ascii_only in (False, True):
            message = inbound(content=EMOJI, helper_metadata={"contact_name": EMOJI})
            body = json.dumps(message, ensure_ascii=ascii_only).encode("utf-8")
            self.assertEqual(body.isascii(), ascii_only)
            self.peer.publish(self.rig.queue("inbound"), body)
            delivered = self.delivered(message)
            self.assertEqual(delivered["message"]["text"]["body"], EMOJI)
            self.assertEqual(delivered["contact"]["profile"]["name"], EMOJI)

    def test_headers_of_a_dead_letter(self) -> None:
        """A message with x-death, and with headers of every type, is one like any other."""
        headers: dict[str, Any] = {
            "x-death": [
                {"queue": "q", "reason": "rejected", "count": 3, "exchange": "", "routing-keys": ["a", "b"]},
                {"queue": "r", "reason": "expired", "count": 1, "time": 1628345545},
            ],
            "x-first-death-queue": "q",
            "int": -1,
            "long": 2**40,
            "decimal": Decimal("0.5"),
            "time": datetime(2021, 8, 7, 14, 12, 25),
            "yes": True,
            "none": None,
            "bytes": b"\xff\x00",
            "text": EMOJI,
            "nested": {"a": [1, "b", {"c": None}]},
        }
        first, second = inbound(), inbound()
        self.peer.publish_json(self.rig.queue("inbound"), first, headers)
        self.say(second)
        self.delivered(first)
        self.delivered(second)

    def test_old_senders(self) -> None:
        """A message without the keys that older senders leave out, and with keys of others, is delivered."""
        message = inbound(someone_elses_key={"a": [1]})
        for key in ("group", "provider", "to_addr_type", "from_addr_type"):
            del message[key]
        for key in ("helper_metadata", "routing_metadata"):
            del message[key]
        self.say(message)
        self.assertEqual(self.delivered(message)["contact"]["profile"]["name"], message["from_addr"])

    def test_order_of_one_person(self) -> None:
        """One person's messages reach Turn one after another, in their order; others overtake."""
        person = new_person()
        self.turn.script(TurnResponse(delay=0.3))
        said = [self.say(inbound(from_addr=person)) for _ in range(4)]
        other = self.say(inbound())
        self.delivered(said[-1])
        requests = [r for r in self.turn.of("messages") if r.json["contact"]["id"] == person]
        self.assertEqual([r.id for r in requests], [m["message_id"] for m in said])
        for earlier, later in zip(requests, requests[1:], strict=False):
            assert earlier.ended is not None
            self.assertLessEqual(earlier.ended, later.began + 0.05)
        self.assertLess(self.turn.wait_for("messages", other["message_id"]).began, requests[1].began)

    def test_unavailable_for_a_moment(self) -> None:
        """A message that Turn could not take at first is tried again, and not parked."""
        self.turn.script(TurnResponse(503), TurnResponse(cut=True))
        message = self.say(inbound())
        self.delivered(message)
        self.assertEqual(len([r for r in self.turn.of("messages") if r.id == message["message_id"]]), 3)
        self.assertEqual(self.peer.take_all(self.rig.queue("turn_failures")), [])

    def test_refused(self) -> None:
        """What Turn will never take is parked whole, and the next message is delivered."""
        self.turn.script(TurnResponse(400, body=b'{"errors": [{"title": "no"}]}'))
        message = self.say(inbound())
        parked = self.parked()
        self.assertEqual(parked["message_type"], "failure_message")
        self.assertEqual(parked["message"], message)
        self.assertEqual(parked["failure_code"], "permanent")
        self.assertIn("400", parked["reason"])
        turn = parked["helper_metadata"]["turn"]
        self.assertEqual((turn["queue"], turn["attempts"], turn["last_status"]), ("inbound", 1, 400))
        self.delivered(self.say(inbound()))


class StatusTests(BridgeCase):
    """What became of our messages, told to Turn."""

    connector = "flows_status"

    def ours(self, to: str) -> str:
        """A message of ours to somebody; its id."""
        answer = self.http.post(outbound(to))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.sent()["message_id"], answer.message_id)
        return answer.message_id

    def test_each_event(self) -> None:
        """Each event of a message of ours becomes the status that Turn knows, with its recipient."""
        person = new_person()
        for kind, changes, status in (
            ("ack", {}, "sent"),
            ("delivery_report", {"delivery_status": "pending"}, "sent"),
            ("delivery_report", {"delivery_status": "delivered"}, "delivered"),
            ("delivery_report", {"delivery_status": "failed"}, "failed"),
            ("nack", {}, "failed"),
        ):
            message_id = self.ours(person)
            reported = self.report(event(kind, message_id, **changes))
            request = self.turn.wait_for("statuses", message_id)
            self.assertEqual(request.path, f"/v1/numbers/{NUMBER}/statuses")
            self.assertEqual(request.headers["authorization"], f"Bearer {TOKEN}")
            self.assertEqual(
                request.json,
                {
                    "status": {
                        "id": message_id,
                        "status": status,
                        "timestamp": unix_seconds(reported["timestamp"]),
                        "recipient_id": person,
                    }
                },
            )
        wait_for(lambda: self.rig.held("event") == 0, "the events to be acknowledged")

    def test_linked_by_user_message_id(self) -> None:
        """The provider's id, another one, absent or null, plays no part in the link."""
        message_id, person = self.ours(new_person()), new_person()
        other = self.ours(person)
        self.report(event("ack", message_id, sent_message_id=other))
        self.assertNotEqual(self.turn.wait_for("statuses", message_id).json["status"]["recipient_id"], person)
        for kind in ("nack", "delivery_report"):
            message_id = self.ours(person)
            told = event(kind, message_id)
            self.assertNotIn("sent_message_id", told)
            self.report(told)
            status = self.turn.wait_for("statuses", message_id).json["status"]
            self.assertEqual(status["recipient_id"], person)

    def test_unknown_message(self) -> None:
        """The status of a message that the cache does not know goes without its recipient."""
        message_id = new_id()
        self.report(event("ack", message_id))
        status = self.turn.wait_for("statuses", message_id).json["status"]
        self.assertEqual(sorted(status), ["id", "status", "timestamp"])

    def test_statuses_of_one_message_in_order(self) -> None:
        """What happened to one message is told in its order, each after the other."""
        message_id = self.ours(new_person())
        self.turn.script(TurnResponse(delay=0.3))
        self.report(event("ack", message_id))
        for delivery_status in ("pending", "delivered"):
            self.report(event("delivery_report", message_id, delivery_status=delivery_status))
        wait_for(lambda: len(self.turn.statuses()) == 3, "three statuses")
        self.assertEqual([s["status"] for s in self.turn.statuses()], ["sent", "sent", "delivered"])

    def test_ack_at_once(self) -> None:
        """A network that acknowledges before Turn has our answer does not outrun what we remember."""
        people = [new_person() for _ in range(10)]
        network = threading.Thread(target=self.acknowledge, args=(len(people),))
        network.start()
        ids = {person: self.http.post(outbound(person)).message_id for person in people}
        network.join(30)
        for person, message_id in ids.items():
            status = self.turn.wait_for("statuses", message_id).json["status"]
            self.assertEqual((status["status"], status.get("recipient_id")), ("sent", person))

    def acknowledge(self, count: int) -> None:
        """Acknowledge so many messages as soon as each is in the queue."""
        peer = AmqpPeer(self.node.port)
        for _ in range(count):
            sent = peer.take_json(self.rig.queue("outbound"))
            peer.publish_json(self.rig.queue("event"), event("ack", sent["message_id"]))
        peer.close()


class OutboundTests(BridgeCase):
    """From Turn to a person."""

    connector = "flows_out"

    def talked(self, **changes: Any) -> dict[str, Any]:
        """A person's message that Turn has got."""
        message = self.say(inbound(**changes))
        self.delivered(message)
        return message

    def post(self, **changes: Any) -> Any:
        """What Turn wants sent; the message that went out for it."""
        answer = self.http.post(outbound(**changes))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(answer.json, {"messages": [{"id": answer.message_id}]})
        self.assertEqual(answer.headers["content-type"].split(";")[0], "application/json")
        sent = self.sent()
        self.assertEqual(sent["message_id"], answer.message_id)
        return sent

    def test_new_message(self) -> None:
        """What answers nobody is a new message from the default sender, with every key that vumi knows."""
        person = new_person()
        sent = self.post(to=person, content="Hi")
        self.assertEqual(set(sent), USER_MESSAGE_KEYS)
        self.assertRegex(sent["message_id"], "^[0-9a-f]{32}$")
        self.assertRegex(sent["timestamp"], r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}$")
        expected: dict[str, Any] = {
            "message_type": "user_message",
            "message_version": "20110921",
            "to_addr": person,
            "from_addr": FROM_ADDR,
            "in_reply_to": None,
            "session_event": "close",
            "content": "Hi",
            "transport_name": self.connector,
            "transport_type": "sms",
            "transport_metadata": {},
            "helper_metadata": {},
            "group": None,
            "provider": None,
        }
        self.assertEqual({key: sent[key] for key in expected}, expected)
        self.assertEqual(sent["routing_metadata"].get("endpoint_name", "default"), "default")

    def test_on_the_wire(self) -> None:
        """The message is persistent and ASCII, in a durable queue that legacy workers can declare."""
        self.peer.declare(self.rig.queue("outbound"))  # 406 if ours had other arguments
        answer = self.http.post(outbound(new_person(), EMOJI))
        self.assertEqual(answer.status, 200)
        found = wait_for(lambda: self.peer.take(self.rig.queue("outbound")), "the message")
        assert found is not None
        properties, body = found
        self.assertEqual(properties.delivery_mode, 2)
        self.assertTrue(body.isascii())
        self.assertEqual(json.loads(body)["content"], EMOJI)

    def test_sender_given(self) -> None:
        """A sender that Turn names is the sender of a new message."""
        self.assertEqual(self.post(to=new_person(), **{"from": "77777"})["from_addr"], "77777")

    def test_reply_by_id(self) -> None:
        """A reply to an earlier message goes back the way that one came, and keeps the session's ids."""
        said = self.talked(
            group="#room", transport_metadata={"session_id": "s-1"}, helper_metadata={"tag": {"pool": 7}},
            routing_metadata={"endpoint_name": "default"},
        )  # fmt: skip
        person = said["from_addr"]
        self.talked(from_addr=person, transport_metadata={"session_id": "s-2"})
        sent = self.post(to=person, reply_to=said["message_id"], waiting_for_user_input=True, **{"from": "77777"})
        self.assertEqual(set(sent), USER_MESSAGE_KEYS)
        self.assertEqual((sent["to_addr"], sent["from_addr"]), (person, SERVICE))
        self.assertEqual(sent["in_reply_to"], said["message_id"])
        self.assertEqual(sent["session_event"], "resume")
        for key in ("group", "provider", "transport_name", "transport_type"):
            self.assertEqual(sent[key], said[key], key)
        for key in ("transport_metadata", "helper_metadata"):
            self.assertEqual(sent[key], said[key], key)
        self.assertEqual(sent["routing_metadata"]["endpoint_name"], "default")

    def test_reply_to_the_last(self) -> None:
        """Without an id, the answer goes to the person's last message, with or without a plus."""
        said = self.talked()
        person = said["from_addr"]
        last = self.talked(from_addr=person)
        for address in (person, person.lstrip("+")):
            sent = self.post(to=address, waiting_for_user_input=True)
            self.assertEqual(sent["in_reply_to"], last["message_id"])
            self.assertEqual((sent["to_addr"], sent["session_event"]), (person, "resume"))

    def test_our_close_ends_the_session(self) -> None:
        """After a message that waits for nothing, the next one begins anew; a reply by id still works."""
        said = self.talked()
        person = said["from_addr"]
        shown = self.http.metric(JOINED)
        self.assertEqual(self.post(to=person)["in_reply_to"], said["message_id"])
        # What is held is published later than its 200: it can be read here before the broker has confirmed it.
        wait_for(lambda: self.http.metric(JOINED) > shown, "the session to be closed")
        self.assertIsNone(self.post(to=person)["in_reply_to"])
        self.assertEqual(self.post(to=person, reply_to=said["message_id"])["in_reply_to"], said["message_id"])

    def test_their_close_ends_the_session(self) -> None:
        """After the person has hung up there is nothing to reply to, until the person speaks again."""
        said = self.talked()
        person = said["from_addr"]
        self.say(inbound(from_addr=person, content=None, session_event="close"))
        wait_for(lambda: self.rig.held("inbound") == 0, "the close to be taken")
        self.assertIsNone(self.post(to=person, waiting_for_user_input=True)["in_reply_to"])
        again = self.talked(from_addr=person, session_event="new", content=None)
        self.assertEqual(self.post(to=person, waiting_for_user_input=True)["in_reply_to"], again["message_id"])

    def test_long_text_and_emoji(self) -> None:
        """Any text that fits into a request is sent as it is."""
        for content in (EMOJI, "x" * 30_000, "2021-08-07 14:12:25", "\u0000\u2028\n\t"):
            self.assertEqual(self.post(to=new_person(), content=content)["content"], content)

    def test_only_the_required_fields(self) -> None:
        """A request with nothing but ``to`` and ``turn`` is complete."""
        person = new_person()
        answer = self.http.post({"to": person, "turn": {"type": "text", "text": {"body": "Hi"}}})
        self.assertEqual(answer.status, 200, answer.body)
        sent = self.sent()
        self.assertEqual((sent["to_addr"], sent["content"]), (person, "Hi"))

    def test_queue_deleted(self) -> None:
        """Where an operator has deleted the queue, the message is in a new one before Turn hears 200."""
        self.peer.delete(self.rig.queue("outbound"))
        self.post(to=new_person())

    def test_health_and_metrics(self) -> None:
        """``/health`` and ``/metrics`` answer beside the webhook."""
        health = self.http.get("/health")
        self.assertEqual((health.status, health.json["health"]), (200, "ok"))
        self.assertEqual(sorted(health.json["components"]), ["amqp", "cache", "parking", "turn"])
        metrics = self.http.get("/metrics")
        self.assertEqual((metrics.status, metrics.headers["content-type"].split(";")[0]), (200, "text/plain"))
        self.assertIn(b"# TYPE ", metrics.body)


class PathTests(BridgeCase):
    """Options that move things: a path of its own, a fixed text for the wordless, another transport type."""

    connector = "flows_path"
    config = {"vumi_api_path": "/hooks/turn", "empty_message_body": "(dialled)", "transport_type": "ussd"}

    def test_path(self) -> None:
        """The webhook is where ``vumi_api_path`` says, and nowhere else."""
        answer = self.http.post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(self.sent()["transport_type"], "ussd")
        self.assertEqual(self.http.request("POST", "/messages", b"{}").status, 404)

    def test_empty_message_body(self) -> None:
        """The configured text stands for no text."""
        message = self.say(inbound(content=None, session_event="new"))
        self.assertEqual(self.delivered(message)["message"]["text"], {"body": "(dialled)"})

    def test_stop(self) -> None:
        """SIGTERM ends the worker and its consumers; what comes later is kept for the next one."""
        self.delivered(self.say(inbound()))
        self.assertIn(self.worker.stop(), (-15, 0))
        wait_for(lambda: self.peer.consumers(self.rig.queue("inbound")) == 0, "its consumer to be gone")
        message = self.say(inbound())
        self.worker.start()
        self.delivered(message)
