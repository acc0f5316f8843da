"""The operator's API and its page, on a broker in memory."""

from __future__ import annotations

import base64
import json
import socket
from typing import Any, Optional
from urllib.parse import quote

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.fakes import user_message
from tests.http.case import Client, Response
from vumi_turn.broker.memory import MemoryBroker
from vumi_turn.failures.dead_letter import DeadLetter
from vumi_turn.failures.queue import FailureQueue
from vumi_turn.http.server import BoundedSite
from vumi_turn.monitoring.health import FleetHealth
from vumi_turn.monitoring.management import Management
from vumi_turn.monitoring.views import ChannelSnapshot
from vumi_turn.turn.verdicts import Verdict

PASSWORD = "marker-password"
PERSON = "+26612345678"
CONTENT = "marker content"


class View:
    """A channel."""

    def __init__(self, connector: str, broker: Any) -> None:
        self.connector = connector
        self.broker = broker
        self.state: dict[str, Any] = {}

    def snapshot(self) -> ChannelSnapshot:
        return ChannelSnapshot(self.connector, **self.state)


class ApiCase(SynchronousTestCase):
    """Two channels on a broker in memory, and their operator's page."""

    password: Optional[str] = PASSWORD
    content = False

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_628_345_678.0)
        self.broker = MemoryBroker(self.clock)
        self.broker.start()
        self.management = Management(
            self.clock,
            trace_key="key",
            password=self.password,
            content=self.content,
            names=["page.example.org"],
        )
        self.views = {name: View(name, self.broker) for name in ("ussd", "sms/ls")}
        for view in self.views.values():
            self.management.views.add(view)
        self.site = BoundedSite(self.management.resource(FleetHealth(), page=True), self.clock, 65536)
        self.clients: list[Client] = []
        self.addCleanup(self.stop)

    def stop(self) -> None:
        self.management.stop()
        self.broker.stop()
        for client in self.clients:
            client.leave()
        for _ in range(50):
            self.clock.advance(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def pass_time(self, seconds: float) -> None:
        for _ in range(int(seconds / 0.05)):
            self.clock.advance(0.05)

    def begin(
        self, method: str, path: str, body: Any = None, headers: Optional[dict[str, str]] = None, close: bool = True
    ) -> Client:
        given = {"Host": "127.0.0.1:8090", **(headers or {})}
        if close:
            given["Connection"] = "close"
        data = b""
        if body is not None:
            data = json.dumps(body).encode()
            given = {"Content-Type": "application/json", "Content-Length": str(len(data)), **given}
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        client = Client(self.site)
        self.clients.append(client)
        client.send(f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode() + data)
        return client

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Response:
        client = self.begin(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        for _ in range(400):
            if not client.silent():
                break
            self.clock.advance(0.05)
        return client.response()

    def get(self, path: str) -> Any:
        response = self.ask("GET", path)
        self.assertEqual(response.status, 200, response.body)
        return response.json

    def change(self, path: str, body: Any, **headers: str) -> Response:
        credentials = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
        given = {"Authorization": f"Basic {credentials}", "Origin": "http://127.0.0.1:8090", **headers}
        return self.ask("POST", path, body, **given)

    def park(self, name: str, connector: str = "ussd", words: str = "", **letter: Any) -> None:
        """A worker parks a message."""
        queue = FailureQueue(self.broker.publisher(f"{connector}.turn_failures"), self.clock)
        given = {"verdict": Verdict.REFUSED, "code": "permanent", "reason": f"Reason of {name} (status 400).", **letter}
        parking = DeadLetter(attempts=1, last_status=400, words=words, **given)
        message = user_message(name, from_addr=PERSON, content=CONTENT)
        done = ensureDeferred(queue.park(message.to_json(), "inbound", parking))
        self.pass_time(0.2)
        self.successResultOf(done)

    def ids(self, query: str = "") -> list[str]:
        return [row["id"] for row in self.get(f"/api/parked{query}")["parked"]]


class ReadTests(ApiCase):
    def test_channels(self) -> None:
        """All channels, with their state in words and the numbers of their queues."""
        self.views["ussd"].state = {"away_for": 61.0}
        self.broker.push("ussd.inbound", b"{}")
        found = self.get("/api/channels")
        self.assertEqual([channel["connector"] for channel in found["channels"]], ["ussd", "sms/ls"])
        self.assertEqual(found["channels"][0]["remarks"], [{"kind": "bad", "text": "Turn away for 1 min"}])
        self.assertEqual((found["can_change"], found["shows_content"]), (True, False))
        self.assertEqual(self.management.counters.of("ussd"), {"inbound": 1})

    def test_channel(self) -> None:
        """One channel, by its name; an unknown one is 404."""
        self.assertEqual(self.get("/api/channels/ussd")["connector"], "ussd")
        response = self.ask("GET", "/api/channels/other")
        self.assertEqual((response.status, response.json["errors"][0]["title"]), (404, "NotFound"))

    def test_failed_channel(self) -> None:
        """A channel that cannot be set up is shown with the reason."""
        self.management.views.failed("irc", "no such cache")
        (found,) = [each for each in self.get("/api/channels")["channels"] if each["connector"] == "irc"]
        self.assertEqual((found["state"], found["remarks"][0]["text"]), ("bad", "Not set up: no such cache"))

    def test_traces(self) -> None:
        """Messages are found by channel, by id, and by address; the address travels in the body."""
        self.management.traces.channel("ussd").begin("m1", "inbound", "message", PERSON, "received")
        self.assertEqual(self.get("/api/channels/ussd/traces?limit=1")["traces"][0]["id"], "m1")
        self.assertEqual(self.ask("GET", "/api/channels/other/traces").status, 404)
        (found,) = self.get("/api/traces/m1")["traces"]
        self.assertEqual(found["steps"][0]["step"], "received")
        self.assertEqual(self.get("/api/traces/m2")["traces"], [])
        for body in ({"address": PERSON}, {"address": PERSON[1:]}, {"person": found["person"]}):
            self.assertEqual(self.ask("POST", "/api/traces", body).json["traces"][0]["id"], "m1")
        for wrong in ({}, {"address": ""}, {"address": 1}, {"address": PERSON, "person": "x"}):
            self.assertEqual(self.ask("POST", "/api/traces", wrong).status, 400)

    def test_page(self) -> None:
        """The page and its files are served with headers that keep others out."""
        for path, kind in (
            ("/", "text/html; charset=utf-8"),
            ("/page/page.js", "text/javascript; charset=utf-8"),
            ("/design/tokens.css", "text/css; charset=utf-8"),
        ):
            response = self.ask("GET", path)
            self.assertEqual((response.status, response.headers["content-type"]), (200, kind))
            self.assertIn("default-src 'self'", response.headers["content-security-policy"])
        self.assertEqual(self.ask("GET", "/page/other.js").status, 404)

    def test_host(self) -> None:
        """A foreign name that was pointed here gets nothing; health and metrics have no such rule."""
        for path in ("/", "/page/page.js", "/api/channels", "/api/traces/m1", "/api/parked", "/api/events"):
            response = self.ask("GET", path, Host="evil.example:8090")
            self.assertEqual((response.status, response.json["errors"][0]["title"]), (403, "Forbidden"), path)
        self.assertEqual(self.ask("POST", "/api/traces", {"address": PERSON}, Host="evil.example").status, 403)
        self.assertEqual(self.ask("GET", "/metrics", Host="worker.example:8090").status, 200)
        self.assertEqual(self.ask("GET", "/live", Host="worker.example:8090").status, 200)


class NoPageTests(ApiCase):
    def test_not_on_http_bind(self) -> None:
        """Where there is no address of its own for it, there is no page and no API."""
        self.site = BoundedSite(self.management.resource(FleetHealth(), page=False), self.clock, 65536)
        for path in ("/", "/api/channels", "/page/page.js"):
            self.assertEqual(self.ask("GET", path).status, 404)
        self.assertEqual(self.change("/api/parked/replay", {"all": True}).status, 404)
        self.assertEqual(self.ask("GET", "/live").status, 200)


class ParkedTests(ApiCase):
    def test_list(self) -> None:
        """What is parked is listed with reason, Turn's words and the person's hash, and stays where it is."""
        self.park("m1", words="1008 no such thing")
        (row,) = self.get("/api/parked")["parked"]
        self.assertEqual((row["connector"], row["id"], row["queue"]), ("ussd", "m1", "inbound"))
        self.assertEqual((row["reason"], row["words"]), ("Reason of m1 (status 400).", "1008 no such thing"))
        self.assertEqual(row["person"], self.management.traces.person_hash.of(PERSON))
        self.assertIsNone(row["content"])
        self.assertEqual(len(self.broker.queue_contents("ussd.turn_failures")), 1)
        self.assertNotIn(PERSON[1:], json.dumps(row))
        self.assertNotIn(CONTENT, json.dumps(row))

    def test_content_of_junk(self) -> None:
        """What is quoted of junk is content too."""
        self.park("m1", reason=f"Not a vumi message: {CONTENT}")
        self.broker.push("ussd.turn_failures", CONTENT.encode())
        found = self.get("/api/parked")
        self.assertEqual(found["matching"], 2)
        self.assertNotIn(CONTENT, json.dumps(found))

    def test_filters(self) -> None:
        """The list is filtered by channel, reason, words, person, status and age, and paged."""
        self.park("m1", words="1008 no such thing")
        self.pass_time(10)
        self.park("m2", "sms/ls")
        self.pass_time(10)
        self.park("m3")
        person = self.management.traces.person_hash.of(PERSON)
        for query, ids in (
            ("", ["m3", "m2", "m1"]),
            ("?connector=ussd", ["m3", "m1"]),
            (f"?connector={quote('sms/ls', '')}", ["m2"]),
            ("?reason=of%20M2", ["m2"]),
            ("?reason=such+thing", ["m1"]),
            (f"?person={person}", ["m3", "m2", "m1"]),
            ("?person=0", []),
            ("?status=400", ["m3", "m2", "m1"]),
            ("?status=0", []),
            ("?older_than=5", ["m2", "m1"]),
            ("?newer_than=5", ["m3"]),
            ("?offset=1&limit=1", ["m2"]),
            ("?offset=9", []),
        ):
            self.assertEqual(self.ids(query), ids, query)
        self.assertEqual(self.get("/api/parked?limit=1")["matching"], 3)
        self.assertEqual(self.ask("GET", "/api/parked?connector=other").status, 404)
        for wrong in ("older_than=x", "limit=-1", "status=x", "older_than=nan"):
            self.assertEqual(self.ask("GET", f"/api/parked?{wrong}").status, 400, wrong)

    def test_read_again(self) -> None:
        """The queue is read again only where its number has changed."""
        self.park("m1")
        self.assertEqual(self.ids(), ["m1"])
        self.pass_time(10)
        self.park("m2")
        self.assertEqual(self.ids(), ["m2", "m1"])

    def test_one(self) -> None:
        """One message is put back into its queue as it was; the others stay."""
        self.park("m1")
        self.park("m2")
        response = self.change("/api/parked/replay", {"ids": ["m1"]})
        self.assertEqual((response.status, response.json), (200, {"done": 1, "left": 0}))
        (body,) = self.broker.queue_contents("ussd.inbound")
        self.assertEqual(json.loads(body)["message_id"], "m1")
        self.assertEqual(self.ids(), ["m2"])

    def test_filter_and_all(self) -> None:
        """Those of a filter, or all, are dropped, of one channel or of all."""
        for name, connector in (("m1", "ussd"), ("m2", "ussd"), ("m3", "sms/ls"), ("m4", "sms/ls")):
            self.park(name, connector)
        self.assertEqual(self.change("/api/parked/drop", {"reason": "of m1"}).json["done"], 1)
        self.assertEqual(self.change("/api/parked/drop", {"connector": "ussd", "all": True}).json["done"], 1)
        self.assertEqual(self.ids(), ["m4", "m3"])
        self.assertEqual(self.change("/api/parked/replay", {"all": True}).json["done"], 2)
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.broker.queue_contents("ussd.inbound"), [])
        self.assertEqual(len(self.broker.queue_contents("sms/ls.inbound")), 2)

    def test_by_digest(self) -> None:
        """One of two that have the same id is told apart by its digest."""
        self.park("m1")
        self.park("m1", reason="Another.")
        digest = next(row["digest"] for row in self.get("/api/parked")["parked"] if row["reason"] == "Another.")
        self.assertEqual(self.change("/api/parked/drop", {"digests": [digest]}).json["done"], 1)
        (left,) = self.get("/api/parked")["parked"]
        self.assertEqual(left["reason"], "Reason of m1 (status 400).")

    def test_cannot_be_replayed(self) -> None:
        """What does not say where it came from is left."""
        self.broker.push("ussd.turn_failures", b"junk")
        self.assertEqual(self.change("/api/parked/replay", {"all": True}).json, {"done": 0, "left": 1})

    def test_client_gone(self) -> None:
        """A browser that leaves does not leave it half done."""
        for number in range(3):
            self.park(f"m{number}")
        credentials = base64.b64encode(f"operator:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Origin": "http://127.0.0.1:8090"}
        client = self.begin("POST", "/api/parked/replay", {"all": True}, headers)
        self.pass_time(0.3)
        client.leave()
        self.pass_time(5)
        self.assertEqual(len(self.broker.queue_contents("ussd.inbound")), 3)
        self.assertEqual(self.ids(), [])

    def test_broker_away(self) -> None:
        """Without a broker a change is 503, and says that it is still parked."""
        self.park("m1")
        self.broker.go_away()
        response = self.change("/api/parked/replay", {"all": True})
        self.assertEqual((response.status, response.json["errors"][0]["title"]), (503, "BrokerUnavailable"))
        self.assertIn("still parked", response.json["errors"][0]["details"])

    def test_which(self) -> None:
        """A change says which are meant: nothing is not all, and all is not some."""
        self.park("m1")
        bodies: list[dict[str, Any]] = [{}]
        for body in (
            *bodies,
            {"connector": "ussd"},
            {"ids": []},
            {"all": True, "ids": ["m1"]},
            {"all": 1},
            {"ids": "m1"},
        ):
            self.assertEqual(self.change("/api/parked/drop", body).status, 400, body)
        self.assertEqual(self.ids(), ["m1"])


class AccessTests(ApiCase):
    def test_wrong_passwords(self) -> None:
        """After five wrong ones an address gets 429 for a while, also with the right one; without one it is asked."""
        body = {"all": True}
        for _ in range(10):
            self.assertEqual(self.change("/api/parked/replay", body, Authorization="").status, 401)
        for _ in range(5):
            self.assertEqual(self.change("/api/parked/replay", body, Authorization="Basic YTpi").status, 401)
        refused = self.change("/api/parked/replay", body)
        self.assertEqual((refused.status, refused.json["errors"][0]["title"]), (429, "TooManyAttempts"))
        self.assertEqual(refused.headers["retry-after"], "30")
        self.pass_time(31)
        self.assertEqual(self.change("/api/parked/replay", body).status, 200)

    def test_hosts(self) -> None:
        """Addresses, localhost, the machine's name and those that are listed are the page's; no other name is."""
        for host, status in (
            ("page.example.org:8090", 200),
            ("PAGE.example.org", 200),
            ("[::1]:8090", 200),
            ("localhost", 200),
            (socket.gethostname(), 200),
            ("page.example.com", 403),
            ("x.page.example.org", 403),
        ):
            with case(host=host):
                self.assertEqual(self.ask("GET", "/api/channels", Host=host).status, status)

    def test_refused(self) -> None:
        """A change needs the password, the page's own Origin and a JSON body; nothing happens without them."""
        self.park("m1")
        wrong = base64.b64encode(b"operator:wrong").decode()
        for headers, status in (
            ({"Authorization": ""}, 401),
            ({"Authorization": f"Basic {wrong}"}, 401),
            ({"Origin": ""}, 403),
            ({"Origin": "http://evil.example"}, 403),
            ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
            ({"Content-Type": "text/plain"}, 400),
        ):
            for what in ("replay", "drop"):
                self.assertEqual(self.change(f"/api/parked/{what}", {"all": True}, **headers).status, status, headers)
        self.assertEqual(self.ids(), ["m1"])
        self.assertEqual(self.ask("GET", "/api/parked/drop").status, 405)


class NoPasswordTests(ApiCase):
    password = None

    def test_only_shows(self) -> None:
        """Without a password nobody may change anything, and the page is told so."""
        self.park("m1")
        self.assertEqual(self.change("/api/parked/drop", {"all": True}).status, 403)
        found = self.get("/api/parked")
        self.assertEqual((found["can_change"], found["matching"]), (False, 1))


class ContentTests(ApiCase):
    content = True

    def test_shown(self) -> None:
        """Where it is configured, what people wrote is shown."""
        self.park("m1")
        (row,) = self.get("/api/parked")["parked"]
        self.assertEqual(row["content"], CONTENT)


class LiveTests(ApiCase):
    def events(self, client: Client) -> list[tuple[str, Any]]:
        text = client.transport.value().decode()
        found = []
        for part in text.split("event: ")[1:]:
            name, _, rest = part.partition("\ndata: ")
            found.append((name, json.loads(rest.split("\n")[0])))
        return found

    def test_changes(self) -> None:
        """A page that listens is told of each channel that changes, and of none that does not."""
        client = self.begin("GET", "/api/events", close=False)
        self.pass_time(2.2)
        self.views["ussd"].state = {"throttled_for": 9.0}
        self.pass_time(1.1)
        self.management.remove("sms/ls")
        self.pass_time(1.1)
        told = self.events(client)
        self.assertEqual(
            [[each["connector"] for each in details["channels"]] for _, details in told],
            [["ussd", "sms/ls"], ["ussd"], []],
        )
        self.assertEqual(told[1][1]["channels"][0]["remarks"][0]["text"], "Rate limited for 9 s")
        self.assertEqual(told[2][1]["gone"], ["sms/ls"])

    def test_parked(self) -> None:
        """It is told when there is another list of what is parked."""
        self.park("m1")
        client = self.begin("GET", "/api/events", close=False)
        self.ids()
        self.assertIn(("parked", {"connector": "ussd"}), self.events(client))

    def test_nobody_looks(self) -> None:
        """When the last page has gone nobody asks the broker any more."""
        client = self.begin("GET", "/api/events", close=False)
        self.pass_time(1.2)
        client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])
