"""``vumi_turn_trace``, on pages in memory."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any, Optional

from treq.testing import RequestTraversalAgent
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.python import usage
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from vumi_turn.commands.http import HttpClient
from vumi_turn.commands.trace import TraceOptions, merged, run

ID = "0123456789abcdef0123456789abcdef"
PERSON = "+26612345678"


def trace(*steps: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a page says of a message."""
    return {
        "id": ID,
        "connector": "ussd",
        "direction": "inbound",
        "kind": "message",
        "person": "76c368a346bfc684",
        "left_out": 0,
        "steps": list(steps),
        **changes,
    }


RECEIVED = {"at": 1628345678.25, "step": "received"}
TRIED = {
    "at": 1628345678.5,
    "step": "tried",
    "kind": "message",
    "verdict": "refused",
    "answer": "status 400: Bad Request",
    "ms": 41,
    "words": "1008 no such thing",
}
PARKED = {"at": 1628345679.0, "step": "parked", "kind": "message", "tries": 1, "ms": 750}


class Page(Resource):
    """A worker's page; what it was asked is in ``asked``."""

    isLeaf = True

    def __init__(self, traces: Any, status: int = 200) -> None:
        super().__init__()
        self.body = traces if isinstance(traces, bytes) else json.dumps({"traces": traces}).encode()
        self.status = status
        self.asked: list[tuple[str, str, bytes]] = []

    def render(self, request: Any) -> bytes:
        self.asked.append((request.method.decode(), request.uri.decode(), request.content.read()))
        request.setResponseCode(self.status)
        request.setHeader("Content-Type", "application/json")
        return self.body


class Pages(Resource):
    """Pages by their ports; there is none on other ports."""

    isLeaf = True

    def __init__(self, pages: dict[int, Page]) -> None:
        super().__init__()
        self._pages = pages

    def render(self, request: Any) -> Any:
        port = int(request.getHeader("Host").rsplit(":", 1)[1])
        return self._pages[port].render(request)


class TraceTests(SynchronousTestCase):
    def trace(self, *arguments: str, pages: Optional[dict[int, Page]] = None) -> tuple[int, str, str]:
        """Exit status, and what was printed."""
        options = TraceOptions()
        options.parseOptions(list(arguments))
        out, err = StringIO(), StringIO()
        clock = Clock()
        agent = RequestTraversalAgent(Pages(pages or {}))
        client = HttpClient(clock, agent, who="it", max_answer=100_000)
        done = ensureDeferred(run(clock, options, out, err, client))
        for _ in range(10):
            agent.flush()
        return self.successResultOf(done), out.getvalue(), err.getvalue()

    def test_message(self) -> None:
        """A message's steps are told one below the other, with Turn's words."""
        page = Page([trace(RECEIVED, TRIED, PARKED)])
        status, out, err = self.trace(ID, pages={8090: page})
        self.assertEqual(
            out,
            f"{ID}  ussd  from a person, person 76c368a346bfc684\n"
            "    2021-08-07 14:14:38.250  received\n"
            "    2021-08-07 14:14:38.500  tried: status 400: Bad Request, refused, 41 ms\n"
            "        Turn says: 1008 no such thing\n"
            "    2021-08-07 14:14:39.000  parked after 1 try, 750 ms\n",
        )
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(page.asked, [("GET", f"/api/traces/{ID}", b"")])

    def test_address(self) -> None:
        """An address travels in the body, and in no path."""
        for arguments in ((PERSON,), ("26612345678",), ("--address", "somebody@example.org")):
            page = Page([trace(RECEIVED)])
            self.assertEqual(self.trace(*arguments, pages={8090: page})[0], 0)
            ((method, path, body),) = page.asked
            self.assertEqual((method, path), ("POST", "/api/traces"))
            self.assertEqual(json.loads(body), {"address": arguments[-1], "limit": 1000})

    def test_id_like_an_address(self) -> None:
        """An id of digits only can be asked for; one with other characters is escaped."""
        page = Page([trace(RECEIVED)])
        self.trace("--id", "12345678", pages={8090: page})
        self.trace("a/b?c", pages={8090: page})
        self.assertEqual([path for _, path, _ in page.asked], ["/api/traces/12345678", "/api/traces/a%2Fb%3Fc"])

    def test_several(self) -> None:
        """What several processes remember of a message is one story by time, which names them."""
        urls = ("http://a:8090", "http://b:8091")
        pages = {8090: Page([trace(RECEIVED, PARKED)]), 8091: Page([trace(TRIED)])}
        flags = [flag for url in urls for flag in ("--url", url)]
        status, out, _ = self.trace(*flags, ID, pages=pages)
        steps = [line.strip() for line in out.splitlines()[1:] if "says" not in line]
        self.assertEqual([step.rsplit("[", 1)[1] for step in steps], [f"{urls[0]}]", f"{urls[1]}]", f"{urls[0]}]"])
        self.assertEqual(status, 0)

    def test_order(self) -> None:
        """Messages come by the time of their first step."""
        later = trace(PARKED, id="later")
        found = merged({"a": [later, trace(RECEIVED)], "b": [trace(TRIED, connector="sms")]})
        self.assertEqual(
            [(one["connector"], one["id"]) for one in found], [("ussd", ID), ("sms", ID), ("ussd", "later")]
        )

    def test_json(self) -> None:
        """--json prints an object a line."""
        _, out, _ = self.trace("--json", ID, pages={8090: Page([trace(RECEIVED), trace(TRIED, connector="sms")])})
        self.assertEqual([json.loads(line)["connector"] for line in out.splitlines()], ["ussd", "sms"])

    def test_nothing(self) -> None:
        """Where nothing is known the exit status says so."""
        status, out, err = self.trace(ID, pages={8090: Page([])})
        self.assertEqual((status, out), (1, ""))
        self.assertIn("nothing is known of it", err)

    def test_trouble(self) -> None:
        """A process that does not answer as a page does is named; what others know is shown all the same."""
        for page, words in (
            (Page(b"<html>"), "this is not the page of a vumi_turn worker"),
            (Page({"x": 1}), "this is not the page of a vumi_turn worker"),
            (Page([{"steps": 1}]), "this is not the page of a vumi_turn worker"),
            (
                Page(b'{"errors": [{"details": "Host is not this server"}]}', 403),
                "answered 403: Host is not this server",
            ),
            (Page(b"x" * 200_000), "more than 100000 bytes"),
        ):
            pages = {8090: page, 8091: Page([trace(RECEIVED)])}
            status, out, err = self.trace("--url", "http://a:8090", "--url", "http://b:8091", ID, pages=pages)
            self.assertEqual(status, 1)
            self.assertIn("http://a:8090: ", err)
            self.assertIn(words, err)
            self.assertIn("received", out)

    def test_control_characters(self) -> None:
        """What a page says cannot steer the terminal."""
        _, out, _ = self.trace(ID, pages={8090: Page([trace({**TRIED, "words": "\x1b[2J"})])})
        self.assertNotIn("\x1b", out)

    def test_flags(self) -> None:
        """Flags that make no sense are refused."""
        for arguments in ([], ["a", "b"], [" "], ["--url", "nowhere", ID], ["--address", "--id", ID]):
            with self.assertRaises(usage.UsageError):
                TraceOptions().parseOptions(arguments)
