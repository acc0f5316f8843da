"""treq's client without its wrappers."""

from __future__ import annotations

from typing import Any

from treq.client import HTTPClient
from treq.content import content
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.http.connections_case import URL, AgentCase
from tests.http.test_agent import OK
from vumi_turn.http.connections import BytesProducer, PreparedHeaders
from vumi_turn.turn.plain_treq import PlainHTTPClient

SAID: dict[str, Any] = {"allow_redirects": False, "unbuffered": True}


class PlainClientTests(AgentCase):
    options = {"undecoded": True}

    def test_same(self) -> None:
        """The request is the one that treq's own class makes, and so is the answer's body."""
        written = []
        for kind in (HTTPClient, PlainHTTPClient):
            with case(kind=kind):
                client = kind(self.agent, data_to_body_producer=BytesProducer)
                headers = PreparedHeaders({b"Authorization": [b"Bearer x"]})
                asked = client.post(URL.decode(), data=b"{}", headers=headers, reactor=self.reactor, **SAID)
                if self.reactor.tcpClients:
                    self.connect()
                written.append(self.transports[0].writes[-1])
                self.receive(OK)
                response = self.successResultOf(asked)
                self.assertEqual((response.code, self.successResultOf(content(response))), (200, b"{}"))
        self.assertEqual(written[0], written[1])


class RefusedTests(SynchronousTestCase):
    def test_refused(self) -> None:
        """What this client does not do it refuses, and names."""
        client = PlainHTTPClient(None)
        for options, named in (
            ({}, "allow_redirects"),
            ({"allow_redirects": False}, "unbuffered"),
            ({**SAID, "timeout": 5}, "timeout"),
            ({**SAID, "cookies": {"a": "b"}}, "cookies"),
            ({**SAID, "json": {}}, "json"),
        ):
            with case(options=options, named=named):
                with self.assertRaises(TypeError) as caught:
                    client.post("http://turn.example/", **options)
                self.assertIn(named, str(caught.exception))
