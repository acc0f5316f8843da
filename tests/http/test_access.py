"""Who may look, and who may change something."""

from __future__ import annotations

import base64
from typing import Any, Optional

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from tests.cases import case
from tests.http.case import Client, Response
from vumi_turn.http.access import check_change, check_host, is_operator, is_own_origin, respond_json
from vumi_turn.http.errors import ApiError
from vumi_turn.http.responses import respond_error
from vumi_turn.http.server import BoundedSite

PASSWORD = "sesam öffne"


def basic(user: str = "operator", password: str = PASSWORD) -> str:
    """A header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Page(Resource):
    """Shows itself, and echoes changes."""

    isLeaf = True
    password: Optional[str] = PASSWORD

    def render(self, request: Any) -> bytes:
        try:
            if request.method == b"POST":
                return respond_json(request, check_change(request, self.password, ["Page.example"]))
            check_host(request, ["Page.example"])
            return respond_json(request, {"page": True})
        except ApiError as error:
            return respond_error(request, error)


class AccessCase(SynchronousTestCase):
    """A page on a server in memory."""

    def setUp(self) -> None:
        self.page = Page()
        self.client = Client(BoundedSite(self.page, Clock(), 1000))
        self.addCleanup(self.client.leave)

    def ask(self, method: str = "GET", body: bytes = b"", **headers: Optional[str]) -> Response:
        """One request; a header that is None is left out."""
        lines = [f"{method} / HTTP/1.1", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value is not None]
        self.client.send("\r\n".join([*lines, "", ""]).encode() + body)
        return self.client.response()


class HostTests(AccessCase):
    def test_ours(self) -> None:
        """Addresses, localhost and the names that are given are this server, with or without a port."""
        for host in ("127.0.0.1", "10.1.2.3:8090", "[::1]:8090", "localhost", "LOCALHOST:1", "page.example:8090"):
            with case(host=host):
                response = self.ask(Host=host)
                self.assertEqual((response.status, response.json), (200, {"page": True}))
                self.assertEqual(response.headers["cache-control"], "no-store")

    def test_of_others(self) -> None:
        """Other names, what is no name, and none at all are refused: somebody has pointed a name of theirs here."""
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "[::1", "x@y", None):
            with case(host=host):
                self.assertEqual(self.ask(Host=host).error[::2], (403, "Forbidden"))


class ChangeTests(AccessCase):
    def change(self, body: bytes = b'{"replay": "all"}', **changes: Optional[str]) -> Response:
        headers: dict[str, Optional[str]] = {
            "Host": "127.0.0.1:8090",
            "Origin": "http://127.0.0.1:8090",
            "Authorization": basic(),
            "Content_Type": "application/json; charset=utf-8",
            **changes,
        }
        return self.ask("POST", body, **headers)

    def test_taken(self) -> None:
        """With password, own origin and a JSON object a change is taken."""
        self.assertEqual(self.change().json, {"replay": "all"})
        over_tls = self.change(Host="page.example", Origin="https://page.example")
        self.assertEqual(over_tls.status, 200)

    def test_password(self) -> None:
        """Without the operator's password it is 401, and the browser is told to ask for it."""
        bad = (None, "", "Basic", "Basic ???", basic("operator", "x"), basic("admin"), basic()[:-4], "Bearer x")
        for authorization in bad:
            with case(authorization=authorization):
                response = self.change(Authorization=authorization)
                self.assertEqual(response.error[::2], (401, "Unauthorized"))
                self.assertIn("basic realm=", response.headers["www-authenticate"])
                self.assertNotIn(PASSWORD.encode(), response.body)

    def test_no_password(self) -> None:
        """Where no password is configured nobody may change anything."""
        for password in (None, ""):
            with case(password=password):
                self.page.password = password
                response = self.change(Authorization=basic("operator", ""))
                self.assertEqual(response.error[::2], (403, "Forbidden"))

    def test_origin(self) -> None:
        """A change that another page has sent, with the password that the browser adds, is refused."""
        for origin in (None, "null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:8090.evil.example"):
            with case(origin=origin):
                self.assertEqual(self.change(Origin=origin).error[::2], (403, "Forbidden"))

    def test_host(self) -> None:
        """So is one under a foreign name, though its origin agrees."""
        response = self.change(Host="evil.example", Origin="http://evil.example")
        self.assertEqual(response.error[::2], (403, "Forbidden"))

    def test_body(self) -> None:
        """What a form can send is no change, nor what is no JSON object."""
        for kind in (None, "text/plain", "application/x-www-form-urlencoded"):
            with case(kind=kind):
                self.assertEqual(self.change(Content_Type=kind).error[::2], (400, "ApiUsageError"))
        for body in (b"[]", b"null", b'"x"'):
            with case(body=body):
                self.assertEqual(self.change(body).error[::2], (400, "ApiUsageError"))
        for body in (b"", b"{", b"\xff", b"[" * 900):
            with case(body=body):
                self.assertEqual(self.change(body).error[::2], (400, "JsonDecodeError"), body[:9])


class FunctionTests(SynchronousTestCase):
    def test_operator(self) -> None:
        """Any bytes are an answer; an empty password lets nobody in."""
        self.assertTrue(is_operator(basic().encode(), PASSWORD))
        self.assertTrue(is_operator(basic().replace("Basic", "bASIC").encode(), PASSWORD))
        for authorization in (None, b"", b"\xff", b"Basic \xff", basic("operator", "").encode()):
            with case(authorization=authorization):
                self.assertFalse(is_operator(authorization, ""))
                self.assertFalse(is_operator(authorization, PASSWORD))

    def test_origin(self) -> None:
        """Host names have no case; schemes other than http and https are nobody's pages."""
        self.assertTrue(is_own_origin(b"http://Page.Example:80", b"page.example:80"))
        for origin in (b"ftp://page.example", b"page.example", b"", b"http://", b"http://page.example/"):
            with case(origin=origin):
                self.assertFalse(is_own_origin(origin, b"page.example"))
