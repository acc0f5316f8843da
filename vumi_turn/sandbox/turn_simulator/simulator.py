"""
A simulated Turn: the Channels API as a channel sees it.

It takes messages and statuses, validates them strictly, signs and POSTs
outbound messages, repeats those that fail as Turn does, limits the rate, and
can be told to misbehave. It remembers what happened. It knows nothing of vumi,
so any channel can be pointed at it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any, Awaitable, Callable, Mapping, Optional

from twisted.internet.interfaces import IReactorTime

from ...caches import person_of
from ...timing.clock import wall_clock_of
from ...timing.timeouts import Timeouts
from ..recent import Recent
from .channels_api import ChannelsApi
from .formats import Invalid, outbound_payload, said_in, same_person, text_message
from .rate_limit import RateLimit
from .records import Conversation, Entry
from .webhook_client import ChannelAnswer, NoAnswer

#: Posts a body with headers to a URL; raises :exc:`NoAnswer`.
Post = Callable[[str, Mapping[str, str], bytes], Awaitable[ChannelAnswer]]

#: The waits between Turn's tries of one outbound message, in seconds.
REPEAT_AFTER = (1.0, 2.0, 4.0, 8.0, 15.0)

#: What is remembered at the most: people, ids.
MAX_PEOPLE, MAX_IDS = 200, 10_000


class TurnSimulator:
    """
    :param clock: for waits and timestamps.
    :param token: the bearer token that a channel must send.
    :param secret: signs what is POSTed to the channel.
    :param webhook: the channel's URL for messages.
    :param post: how to POST to it.
    :param limit: the rate limit, None for none.
    :param follow: whether the channel that was made last becomes the webhook.
    :ivar api: its HTTP side, with its faults and the requests that came.
    :ivar on_message: called with a person's address, each new message of theirs, and what was said in it.
    :ivar on_conversation: called with a conversation that has changed.
    """

    def __init__(
        self,
        clock: IReactorTime,
        *,
        token: str,
        secret: str,
        webhook: str,
        post: Post,
        limit: Optional[RateLimit] = None,
        follow: bool = False,
    ) -> None:
        self._wall = wall_clock_of(clock)
        self._secret = secret
        self._post = post
        self._follow = follow
        self._waits = Timeouts(clock)
        self.api = ChannelsApi(clock, token, self, limit)
        self.webhook = webhook
        self.on_message: Callable[[str, dict[str, Any], str], None] = lambda address, message, said: None
        self.on_conversation: Callable[[Conversation], None] = lambda conversation: None
        self._conversations: Recent[Conversation] = Recent(MAX_PEOPLE)
        self._received: Recent[bool] = Recent(MAX_IDS)
        self._sent: Recent[tuple[str, Entry]] = Recent(MAX_IDS)
        self._early: Recent[list[str]] = Recent(MAX_IDS)
        self._reasons: Recent[str] = Recent(MAX_IDS)

    def reset(self) -> None:
        """Forget all that happened, and have no fault."""
        self.api.reset()
        for memory in (self._conversations, self._received, self._sent, self._early, self._reasons):
            memory.clear()

    def stop(self) -> None:
        """End all waits: delayed answers are given, and nothing is tried again."""
        self.api.stop()
        self._waits.end(lambda: NoAnswer("the simulated Turn is stopping"))

    def conversation(self, address: str) -> Conversation:
        """A person's conversation, a new one where there is none."""
        key = person_of(address)
        known = self._conversations.get(key)
        return known if known is not None else self._conversations.put(key, Conversation(address))

    def conversations(self) -> list[Conversation]:
        """All of them, the one that began first first."""
        return self._conversations.values()

    # -- what a channel POSTs to Turn ----------------------------------------

    def take_channel(self, channel: dict[str, Any]) -> dict[str, str]:
        """A channel is made: what it will be signed with."""
        if self._follow:
            self.webhook = channel["endpoint"]
        return {"hmac_secret": self._secret}

    def take_message(self, message: dict[str, Any]) -> None:
        """A person's message; the same one again is kept once."""
        if message["id"] in self._received:
            return
        self._received.put(message["id"], True)
        said = said_in(message)
        self._say(message["from"], Entry("inbound", message["id"], said, self._wall()))
        self.on_message(message["from"], message, said)

    def take_status(self, status: dict[str, Any]) -> None:
        """
        What became of a message to a person.

        :raises Invalid: it was another person's message.
        """
        known = self._sent.get(status["id"])
        if known is None:
            # A status may overtake the answer that has the message's id.
            early = self._early.get(status["id"]) or self._early.put(status["id"], [])
            early.append(status["status"])
            return
        address, entry = known
        if "recipient_id" in status and not same_person(status["recipient_id"], address):
            raise Invalid("status.recipient_id must be the person whom the message went to")
        if status["status"] not in entry.statuses:
            entry.statuses.append(status["status"])
        self.on_conversation(self.conversation(address))

    def _say(self, address: str, entry: Entry) -> None:
        conversation = self.conversation(address)
        conversation.entries.append(entry)
        self.on_conversation(conversation)

    def note(self, address: str, text: str) -> None:
        """Put a line into a conversation that is nobody's message."""
        self._say(address, Entry("note", None, text, self._wall()))

    def note_failure(self, message_id: str, reason: str) -> None:
        """Remember why an outbound message failed: Turn's own statuses do not say it."""
        known = self._sent.get(message_id)
        if known is None:
            self._reasons.put(message_id, reason)
            return
        address, entry = known
        entry.reason = reason
        self.on_conversation(self.conversation(address))

    # -- what Turn POSTs to a channel ----------------------------------------

    async def send(
        self,
        to: str,
        text: Optional[str],
        *,
        turn: Optional[Mapping[str, Any]] = None,
        reply_to: Optional[str] = None,
        waiting: bool = False,
        repeats: bool = True,
    ) -> Entry:
        """
        Send a message to a person, as an agent or a journey in Turn does.

        :param to: the person's address.
        :param text: what to say; with ``turn`` it goes as ``content``.
        :param turn: the message in WhatsApp's shape, any type; None is a text.
        :param reply_to: the id of the inbound message that this answers.
        :param waiting: whether the person is expected to answer.
        :param repeats: whether to repeat a POST that failed, as Turn does.
        :return: the line of the conversation; its ``error`` says why it failed.
        """
        shape = turn if turn is not None else text_message(text or "")
        shown = text if text is not None else f"({shape.get('type')})"
        entry = Entry("outbound", None, shown, self._wall(), waiting=waiting, sending=True, turn=shape)
        self._say(to, entry)
        body = json.dumps(outbound_payload(to, shape, text, reply_to, waiting)).encode("ascii")
        for wait in (*REPEAT_AFTER, None) if repeats else (None,):
            entry.tries += 1
            again, entry.error = await self._try(to, entry, body)
            if not again or wait is None:
                break
            self.on_conversation(self.conversation(to))
            await self._waits.sleep(wait)
        entry.sending = False
        self.on_conversation(self.conversation(to))
        return entry

    async def _try(self, to: str, entry: Entry, body: bytes) -> tuple[bool, Optional[str]]:
        """POST once; whether to try again, and what was wrong."""
        signature = base64.b64encode(hmac.new(self._secret.encode("utf-8"), body, hashlib.sha256).digest())
        headers = {"Content-Type": "application/json", "X-Turn-Hook-Signature": signature.decode("ascii")}
        try:
            answer = await self._post(self.webhook, headers, body)
        except NoAnswer as error:
            return True, f"the channel gave {error}"
        if not 200 <= answer.status < 300:
            return answer.status >= 500, f"the channel answered {answer.status}{_why(answer.body)}"
        name = _id_of(answer.body)
        if name is None:
            return False, f"the channel answered {answer.status}, without messages[0].id"
        entry.id = name
        entry.statuses.extend(self._early.pop(name) or [])
        entry.reason = self._reasons.pop(name)
        self._sent.put(name, (to, entry))
        return False, None


def _id_of(answer: bytes) -> Optional[str]:
    """The id that a channel's answer gives to a message."""
    try:
        name = json.loads(answer)["messages"][0]["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    return name if isinstance(name, str) and name else None


def _why(answer: bytes) -> str:
    """What a channel's refusal says is wrong, behind a colon; nothing where it does not."""
    try:
        details = json.loads(answer)["errors"][0]["details"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""
    return f": {details}" if isinstance(details, str) else ""
