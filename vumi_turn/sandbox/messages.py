"""
The traffic as a story: one entry for each message, with what happened to it in order.

Built from the lines of the traffic log, so it knows what a person at the wires
would know, with a real broker and a real Turn too.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Optional

from ..failures.queue import FAILURES
from .hops import Hop, Message, Outcome, same_address
from .line_fields import (
    detail,
    details_of,
    id_given,
    outbound_text,
    outcome_of_event,
    person_of_part,
    reason,
    text_of,
)
from .recent import Recent

#: How many messages are remembered.
MAX_MESSAGES = 200

#: Where the worker holds several answers to one input; see ``conversation/joining.py``.
JOINING = "turn_joining"
HELD = Outcome("held to be joined", "info")

Line = Mapping[str, Any]


class MessageHistory:
    """
    :param changed: called with each message that is new or has changed, as JSON.
    :param forgotten: called with the key of a message that turned out to be another one's.
    :param application: the worker is one: what it settles, it has dealt with.
    """

    def __init__(
        self,
        changed: Callable[[dict[str, Any]], None] = lambda message: None,
        forgotten: Callable[[str], None] = lambda key: None,
        application: bool = False,
    ) -> None:
        self._changed = changed
        self._forgotten = forgotten
        self._application = application
        self._messages: Recent[Message] = Recent(MAX_MESSAGES)
        self._open: Recent[tuple[Message, Hop]] = Recent(MAX_MESSAGES)
        self._last_number = 0

    def to_list(self) -> list[dict[str, Any]]:
        """All messages as JSON, the oldest first."""
        return [message.to_dict() for message in sorted(self._messages.values(), key=lambda one: one.number)]

    def clear(self) -> None:
        """Forget all messages."""
        self._messages.clear()
        self._open.clear()

    def add(self, line: Line) -> None:
        """Take note of a line of the traffic log."""
        message = self._amqp(line) if line["protocol"] == "amqp" else self._http(line)
        if message is not None:
            self._changed(message.to_dict())

    # -- AMQP -----------------------------------------------------------------

    def _amqp(self, line: Line) -> Optional[Message]:
        queue = line["where"].rpartition(".")[2]
        if not line["ids"] or (line["who"] == "page" and queue == FAILURES):
            return self._taken_from_parked(line) if line["what"] == "ack" and line["ids"] else None
        message = self._message_of(line, queue)
        if message is None:
            return None
        if line["what"] == "publish":
            self._published(message, line, queue)
        elif line["what"] == "refused":
            message.close_hop(f"publish {line['who']} {queue}", "not taken", "bad", line["clock"])
            message.outcome = Outcome("not taken by the broker", "bad", line.get("reason"))
        elif line["what"] == "deliver":
            again = " again" if line.get("redelivered") else ""
            name = f"deliver {line['who']} {queue}"
            message.open_hop(name, "broker", line["who"], f"delivered{again} from {queue}", line, detail(line))
        else:
            self._settled(message, line, queue)
        return message

    def _message_of(self, line: Line, queue: str) -> Optional[Message]:
        """The message that an AMQP line is about; a new one where its body is a message's."""
        known = self._messages.get(line["ids"][0])
        body = line.get("body")
        if known is not None or not isinstance(body, dict):
            return known
        if queue == JOINING:
            posted = self._awaiting_id(person_of_part(body)) if line["what"] == "publish" else None
            return None if posted is None else self._name(posted, line["ids"][0])
        if body.get("message_type") != "user_message":
            return None
        outbound = queue == "outbound"
        if outbound and line["what"] == "publish":
            posted = self._awaiting_id(str(body.get("to_addr") or ""))
            if posted is not None:
                return self._name(posted, line["ids"][0])
        return self._new(
            line["ids"][0],
            line,
            direction="out" if outbound else "in",
            person=str(body.get("to_addr" if outbound else "from_addr") or ""),
            service=str(body.get("from_addr" if outbound else "to_addr") or ""),
            text=body.get("content"),
            transport=body.get("transport_type"),
            session=body.get("session_event"),
        )

    def _published(self, message: Message, line: Line, queue: str) -> None:
        who, body = line["who"], line.get("body")
        if queue == "outbound" and isinstance(body, dict):
            original = self._messages.get(str(body.get("in_reply_to")))
            if original is not None:
                original.answered = True
        name = f"publish {who} {queue}"
        if queue == FAILURES:
            failure = body if isinstance(body, dict) else {}
            message.add_hop(name, who, "parked", "parked", line, failure.get("failure_code"), "bad")
            message.outcome = Outcome("parked", "bad", failure.get("reason"))
            return
        word = {"event": detail(line) or "event", JOINING: "put"}.get(queue, "published")
        sender = "parked" if who == "page" else who
        tone = "bad" if word in ("nack", "failed") else "good"
        message.add_hop(f"{name} {word}", sender, "broker", f"{word} to {queue}", line, reason(body), tone)
        if queue == "event":
            message.outcome = outcome_of_event(body if isinstance(body, dict) else {}) or message.outcome
        elif who == "page":
            message.outcome = Outcome("replayed", "info")
        elif queue == JOINING:
            message.outcome = HELD
        elif message.direction == "out" and isinstance(body, dict):
            message.shown, message.session = body.get("content"), body.get("session_event")
            message.transport = body.get("transport_type")
            message.outcome = Outcome("published", "info")

    def _settled(self, message: Message, line: Line, queue: str) -> None:
        good = line["what"] == "ack"
        name = f"deliver {line['who']} {queue}"
        message.close_hop(name, "settled" if good else "given back", "good" if good else "warn", line["clock"])
        if not good:
            message.outcome = Outcome("back in its queue", "warn")
        elif queue == JOINING and message.outcome is HELD:
            message.outcome = Outcome("joined", "good", "it is shown with the message before it")
        elif queue == "inbound" and message.outcome.is_open:
            message.outcome = self._settled_outcome(message)

    def _settled_outcome(self, message: Message) -> Outcome:
        """What a message has come to that the worker has settled without asking Turn."""
        if self._application:
            return Outcome("handled", "good")
        # The worker answers the key for the next page by itself.
        return Outcome("page turned", "good") if message.answered else Outcome("nothing to send", "idle")

    def _taken_from_parked(self, line: Line) -> Optional[Message]:
        message = self._messages.get(line["ids"][0])
        if message is None or message.outcome.text != "parked":
            return None
        message.add_hop("drop", "parked", "nobody", "dropped", line, None, "warn")
        message.outcome = Outcome("dropped", "idle", message.outcome.reason)
        return message

    # -- HTTP -----------------------------------------------------------------

    def _http(self, line: Line) -> Optional[Message]:
        if line["what"] == "request":
            return self._asked_turn(line) if line["who"] == "worker" else self._asked_worker(line)
        found = self._open.pop(str(line["exchange"]))
        if found is None:
            return None
        message, hop = found
        status = line["status"]
        good = status is not None and 200 <= status < 300
        why = line.get("reason") or details_of(line.get("body"))
        hop.close(str(status) if status is not None else "no answer", "good" if good else "bad", line)
        hop.detail = why or hop.detail
        if hop.name == "message":
            self._turn_answered(message, line, good, why)
        elif hop.name == "outbound":
            message = self._worker_answered(message, line, good, why)
        return message

    def _asked_turn(self, line: Line) -> Optional[Message]:
        message = self._messages.get(line["ids"][0]) if line["ids"] else None
        if message is None:
            return None
        body = line.get("body")
        kind = "status" if line["where"].endswith("statuses") else "message"
        status = body["status"].get("status") if kind == "status" and isinstance(body, dict) else None
        name = kind if status is None else f"status {status}"
        hop = message.open_hop(name, "worker", "turn", line["where"] + (f" {status}" if status else ""), line)
        self._open.put(str(line["exchange"]), (message, hop))
        if kind == "message":
            message.tries += 1
            message.said_to_turn = text_of(body)
            message.outcome = Outcome("on its way to Turn" if message.tries == 1 else "trying again", "info")
        return message

    def _turn_answered(self, message: Message, line: Line, good: bool, why: Optional[str]) -> None:
        if good:
            message.outcome = Outcome("taken by Turn", "good")
            message.ended = line["clock"]
        else:
            status = line["status"]
            message.outcome = Outcome("no answer" if status is None else f"Turn said {status}", "warn", why)

    def _asked_worker(self, line: Line) -> Message:
        body = line.get("body")
        fields = body if isinstance(body, dict) else {}
        message = self._repeated(line) or self._new(
            f"exchange-{line['exchange']}",
            line,
            direction="out",
            person=str(fields.get("to") or ""),
            service="",
            text=outbound_text(fields),
            transport=None,
            session=None,
        )
        message.request = body
        message.tries += 1
        message.outcome = Outcome("on its way to the worker", "info")
        hop = message.open_hop("outbound", "turn", "worker", line["where"], line)
        self._open.put(str(line["exchange"]), (message, hop))
        return message

    def _worker_answered(self, message: Message, line: Line, good: bool, why: Optional[str]) -> Message:
        name = id_given(line.get("body")) if good else None
        if name is not None and message.id is None:
            message = self._name(message, name)
        if not good:
            status = line["status"]
            word = "no answer" if status is None else f"refused: {status}" if status < 500 else f"worker: {status}"
            message.outcome = Outcome(word, "warn" if status is None or status >= 500 else "bad", why)
        elif message.outcome.is_open:
            message.outcome = Outcome("published", "info")
        return message

    def _repeated(self, line: Line) -> Optional[Message]:
        """The message that a request of Turn's repeats: the same body, whose last try had no good answer."""
        body = line.get("body")
        for message in reversed(self._messages.values()):
            if message.request is not None and message.request == body:
                hop = message.last_hop("outbound")
                return message if hop is not None and hop.tone != "good" else None
        return None

    # -- which message it is ------------------------------------------------------

    def _awaiting_id(self, person: str) -> Optional[Message]:
        """The request of Turn's that is being answered by a publish: the oldest to that person without an id."""
        for message in sorted(self._messages.values(), key=lambda one: one.number):
            if message.id is None and message.last_hop("outbound") and same_address(message.person, person):
                return message
        return None

    def _new(self, key: str, line: Line, **fields: Any) -> Message:
        self._last_number += 1
        name = None if key.startswith("exchange-") else key
        return self._messages.put(key, Message(self._last_number, key, name, line["at"], line["clock"], **fields))

    def _name(self, message: Message, name: str) -> Message:
        """Give a message of Turn's its id; what was known under that id joins it."""
        other = self._messages.pop(name)
        self._messages.pop(message.key)
        self._forgotten(message.key)
        message.key = message.id = name
        if other is not None and other is not message:
            message.join(other)
        return self._messages.put(name, message)
