"""A webhook and a publisher on a broker that confirms when the test says so."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.http.case import SECRET, Client, Response, request
from vumi_turn.caches.requests_memory import MemoryRequestStore
from vumi_turn.http.server import BoundedSite
from vumi_turn.outbound.publisher import PRESENCE_TIME, OutboundPublisher
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.turn.webhook import Webhook
from vumi_turn.vumi.messages import TransportUserMessage

ADDRESS, CONTENT = "+26612345678", "Dumela"


class Nacked(Exception):
    """What the broker of these tests says where it does not take a message."""


def outbound(**changes: Any) -> bytes:
    """The body of a POST of Turn's."""
    value = {
        "to": ADDRESS,
        "from": None,
        "reply_to": None,
        "content": CONTENT,
        "turn": {"type": "text", "text": {"body": CONTENT}},
        "waiting_for_user_input": False,
        **changes,
    }
    return json.dumps(value).encode()


class OutboundCase(SynchronousTestCase):
    """
    A webhook on a broker that confirms when the test says so.

    :ivar confirms: one for each publish that was asked for and is not settled.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.built: list[tuple[OutboundRequest, str]] = []
        self.published: list[TransportUserMessage] = []
        self.known: set[str] = set()
        self.confirms: list[Deferred[None]] = []
        self.build_waits: Optional[Deferred[None]] = None
        self.build_error: Optional[Exception] = None
        self.at_once: Any = None
        self.titles: list[str] = []
        self.ids = iter(f"m{n}" for n in range(1, 1000))
        self.heard: dict[str, str] = {}
        self.store = MemoryRequestStore(self.clock, 5.0, self.heard.get)
        self.publisher, self.site = self.make()
        self.client = Client(self.site)
        self.clients = [self.client]
        self.addCleanup(self.nothing_is_left)

    def make(self, **options: Any) -> tuple[OutboundPublisher, BoundedSite]:
        """A publisher, and a site whose webhook hands its requests to it."""
        values: dict[str, Any] = {
            "flow": self,
            "retryable": (Nacked,),
            "store": self.store,
            "new_id": lambda: next(self.ids),
            "request_timeout": 240.0,
            "publish_timeout": 4.0,
        }
        publisher = OutboundPublisher(self.clock, **{**values, **options})
        webhook = Webhook(
            secret=SECRET.decode(),
            handler=publisher,
            clock=self.clock,
            max_request_size=2000,
            observe=self.titles.append,
        )
        return publisher, webhook.site()

    async def build_outbound(self, wanted: OutboundRequest, message_id: str) -> TransportUserMessage:
        self.built.append((wanted, message_id))
        if self.build_waits is not None:
            await self.build_waits
        if self.build_error is not None:
            raise self.build_error
        return TransportUserMessage.send(wanted.to, wanted.text, message_id=message_id)

    async def is_published(self, message_id: str) -> bool:
        return message_id in self.known

    async def joins(self, wanted: OutboundRequest) -> bool:
        return wanted.text == "joins"

    async def publish_outbound(self, message: TransportUserMessage) -> None:
        self.published.append(message)
        if isinstance(self.at_once, Exception):
            raise self.at_once
        if self.at_once:
            return
        confirm: Deferred[None] = Deferred()
        self.confirms.append(confirm)
        await confirm

    def confirm(self, error: Optional[Exception] = None) -> None:
        """Settle the oldest publish."""
        confirm = self.confirms.pop(0)
        if error is None:
            confirm.callback(None)
        else:
            confirm.errback(error)

    def pump(self) -> None:
        """Let the time pass in which a client may show that it has gone."""
        self.clock.pump([PRESENCE_TIME, 0, 0])

    def another(self) -> Client:
        """A further client."""
        client = Client(self.site)
        self.clients.append(client)
        return client

    def post(self, body: Optional[bytes] = None, client: Optional[Client] = None, **kw: Any) -> Client:
        client = client or self.client
        client.send(request(body=outbound() if body is None else body, **kw))
        return client

    def answer(self, body: Optional[bytes] = None, **kw: Any) -> Response:
        """POST, and the answer that came at once."""
        return self.post(body, **kw).response()

    def ids_published(self) -> list[str]:
        return [message.message_id for message in self.published]

    def assertBusy(self, response: Response) -> None:
        """A 503 that says when to come again."""
        self.assertEqual(response.error, (503, 503, "BrokerUnavailable"))
        self.assertGreater(int(response.headers["retry-after"]), 0)

    def nothing_is_left(self) -> None:
        for confirm in self.confirms:
            confirm.callback(None)
        for client in self.clients:
            client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
