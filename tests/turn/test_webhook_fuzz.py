"""Random bytes from clients: every answer is HTTP with JSON, and nobody else notices."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.http.case import SECRET, Client, chunked, request, take_turns
from vumi_turn.http.connection import IDLE_TIME
from vumi_turn.http.server import BoundedSite
from vumi_turn.turn.payloads import OutboundRequest
from vumi_turn.turn.webhook import Webhook
from vumi_turn.vumi.messages import TransportUserMessage

GOOD = b'{"to": "+26612345678", "turn": {"type": "text", "text": {"body": "Dumela"}}}'

#: What a request may be made of, so that most examples get past the first line.
FRAGMENTS = st.sampled_from(
    [
        b"POST /messages HTTP/1.1\r\n",
        b"GET /%ff?x HTTP/1.0\r\n",
        b"HEAD /messages HTTP/1.1\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Expect: 100-continue\r\n",
        b"Connection: close\r\n",
        b"X-Turn-Hook-Signature: \xff\xfe\r\n",
        b" continued\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        request(body=GOOD),
        request(body=b"[1, 2]"),
        chunked([GOOD[:20], GOOD[20:]]),
    ]
)
STREAMS = st.lists(FRAGMENTS | st.binary(max_size=40), max_size=12)

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
TURN = st.fixed_dictionaries({"type": JSON | st.just("text"), "text": JSON | st.fixed_dictionaries({"body": JSON})})
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "to": JSON,
        "from": JSON,
        "reply_to": JSON,
        "content": JSON,
        "waiting_for_user_input": JSON,
        "turn": JSON | TURN,
    },
)

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


class TakesAll:
    """A handler that takes every request."""

    async def accept(self, request: OutboundRequest, key: bytes, client: object) -> str:
        TransportUserMessage.send(request.to, request.text).to_json()
        return "m1"

    def answered(self, request: OutboundRequest, key: bytes, message_id: str, was_read: bool) -> None:
        pass

    def client_left(self, key: bytes, message_id: str) -> None:
        pass


class FuzzTests(SynchronousTestCase):
    def site(self) -> tuple[BoundedSite, Clock]:
        clock = Clock()
        webhook = Webhook(secret=SECRET.decode(), handler=TakesAll(), clock=clock, max_request_size=1000)
        return webhook.site(), clock

    def still_works(self, site: BoundedSite) -> None:
        client = Client(site)
        client.send(request(body=GOOD))
        self.assertEqual(client.response().message_id, "m1")
        client.leave()

    @quick
    @given(STREAMS, st.integers(1, 200))
    def test_streams(self, pieces: list[bytes], size: int) -> None:
        """Whatever bytes come, in whatever pieces: no exception, and no answer that is not JSON."""
        site, clock = self.site()
        client = Client(site)
        stream = b"".join(pieces)
        for start in range(0, len(stream), size):
            client.send(stream[start : start + size])
        take_turns(clock)
        for response in answers(client):
            with case(response=response):
                self.assertIn(response, (100, 200, 400, 401, 404, 405, 413))
        self.still_works(site)
        clock.advance(IDLE_TIME + 100)
        self.assertTrue(client.transport.gone)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    @quick
    @given(BODIES | JSON)
    def test_bodies(self, value: Any) -> None:
        """Whatever JSON is signed: a 200 or a 400, and never a bug."""
        site, _ = self.site()
        client = Client(site)
        client.send(request(body=json.dumps(value).encode()))
        (status,) = answers(client)
        self.assertIn(status, (200, 400, 413))
        client.leave()
        self.still_works(site)
        self.assertEqual(self.flushLoggedErrors(), [])


def answers(client: Client) -> list[int]:
    """The statuses that were written; a HEAD's answer has no body, so they are found by their first line."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] ([0-9]{3}) ", client.transport.value())]
