"""``vumi_turn_channel check``, on a RabbitMQ, a Turn and a machine in memory."""

from __future__ import annotations

import errno
import io
import json
import os
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any
from unittest import mock

import yaml
from treq.testing import RequestTraversalAgent
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.broker.amqp.encoding import Thing, Things
from tests.broker.amqp.peer import FakeRabbit
from tests.cases import case
from tests.commands.fake_turn import NUMBER, ChannelTurn
from vumi_turn.caches.memory import MemoryMessageCache
from vumi_turn.commands.channel import ChannelOptions, create
from vumi_turn.commands.channel_check import CACHE_TIMEOUT, Check, judged
from vumi_turn.commands.http import HttpClient, Reply
from vumi_turn.vumi.middleware import BaseMiddleware

NOW = 1_700_000_000.0
TOKEN, SECRET = "marker-auth-token", "marker-hmac-secret"

CONFIG = {
    "connector_name": "c",
    "http_bind": "127.0.0.1:8080",
    "turn_api_url": "https://turn.example/v1/numbers/1",
    "default_from_addr": "8864",
    "auth_token": TOKEN,
    "turn_hmac_secret": SECRET,
}


class Machine(MemoryReactorClock):
    """
    :ivar taken: the ports that others listen on.
    :ivar forbidden: the ports that we may not listen on.
    """

    def __init__(self) -> None:
        super().__init__()
        self.taken: set[int] = set()
        self.forbidden: set[int] = set()

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        for ports, number in ((self.taken, errno.EADDRINUSE), (self.forbidden, errno.EACCES)):
            if port in ports:
                raise CannotListenError(interface, port, OSError(number, os.strerror(number)))
        return super().listenTCP(port, factory, backlog, interface)


class SickCache(MemoryMessageCache):
    """A cache that never becomes healthy."""

    healthy = False
    trouble = "Redis at h:1: refused"
    stopped = 0

    async def stop(self) -> None:
        type(self).stopped += 1


class BrokenMiddleware(BaseMiddleware):
    """One that cannot be made."""

    def __init__(self, *args: Any) -> None:
        raise RuntimeError("no such table")


class CheckCase(SynchronousTestCase):
    """All is well, unless the test says otherwise."""

    def setUp(self) -> None:
        self.machine = Machine()
        self.machine.advance(NOW)
        self.things = Things(
            {
                "vumi": Thing(),
                "c.inbound": Thing(),
                "c.event": Thing(messages=1),
                "c.outbound": Thing(consumers=1),
                "c.turn_failures": Thing(),
            }
        )
        self.rabbit = FakeRabbit(self.machine, self.things.peer())
        self.turn = ChannelTurn()
        self.turn.answers(422, {"errors": [{"title": "no message"}]}, Date=formatdate(NOW, usegmt=True))
        self.path = Path(self.mktemp())
        self.config: dict[str, Any] = dict(CONFIG)
        self.flags: list[str] = []

    def check(self) -> tuple[int, list[str]]:
        """The exit status and the lines, of which none holds a secret."""
        self.path.write_text(yaml.safe_dump(self.config))
        return self.check_file()

    def check_file(self) -> tuple[int, list[str]]:
        """The same of the file as it is."""
        options = ChannelOptions()
        options.parseOptions(["check", "--config", str(self.path), "--heartbeat", "0", *self.flags])
        out = io.StringIO()
        agent = RequestTraversalAgent(self.turn)
        check = Check(options.subOptions, self.machine, out, self.rabbit, agent)
        began = self.machine.seconds()
        done = Deferred.fromCoroutine(check.run())
        for _ in range(200):
            self.rabbit.advance(0.1)
            if done.called:
                break
        status = self.successResultOf(done)
        self.took = self.machine.seconds() - began
        self.rabbit.advance(10)
        self.assertEqual(self.rabbit.open_peers, [])
        self.assertEqual(self.machine.getDelayedCalls(), [])
        self.assertNotIn("marker", out.getvalue())
        return status, out.getvalue().splitlines()

    def line(self, level: str, title: str, words: str) -> None:
        """
        One line has this level and title, and these words; the exit status is
        1 if it says that something failed, and nothing else may have.
        """
        status, lines = self.check()
        start = f"{level:<8}{title}: "
        found = [line for line in lines if line.startswith(start)]
        self.assertEqual(len(found), 1, "\n".join(lines))
        self.assertIn(words, found[0])
        failed = [line for line in lines if line.startswith("failed")]
        self.assertEqual(failed, found if level == "failed" else [])
        self.assertEqual(status, 1 if level == "failed" else 0)


class CheckTests(CheckCase):
    def test_all_is_well(self) -> None:
        """Where all is well each thing is a line, and the exit status is 0."""
        status, lines = self.check()
        self.assertEqual(
            lines,
            [
                f"ok      config: {self.path} is right; the connector is c",
                "ok      broker: RabbitMQ answers at 127.0.0.1:5672",
                "ok      credentials: user 'vumi' may log in",
                "ok      vhost: user 'vumi' may use '/develop'",
                "ok      exchange vumi: durable and direct, as it has to be",
                "ok      queue c.inbound: 0 messages for the worker",
                "ok      queue c.event: 1 message for the worker",
                "ok      queue c.outbound: a transport takes what we send; 0 messages",
                "ok      queue c.turn_failures: nothing is parked",
                "ok      turn: reached, and it takes the token: 422 to an empty request, as it should be",
                "ok      clock: ours is 0 s behind Turn's, as far as can be told",
                "ok      http_bind: tcp:8080:interface=127.0.0.1 is free",
                "ok      message cache: MemoryMessageCache is ready",
                "13 ok, 0 warning, 0 failed",
            ],
        )
        self.assertEqual(status, 0)

    def test_nothing_is_left(self) -> None:
        """Nothing is declared, no port stays open, and Turn gets one request without a message in it."""
        self.things.by_name.clear()
        self.check()
        self.assertEqual(self.things.made, [])
        self.assertEqual(self.turn.asked, [("/v1/numbers/1/messages", f"Bearer {TOKEN}", {})])
        self.assertEqual(len(self.machine.tcpServers), 1)

    def test_a_trial_that_fails_by_itself(self) -> None:
        """A bug in one trial is its line, and the others go on."""
        self.config["message_cache_class"] = "tests.commands.test_channel_check.SickCache"
        with mock.patch.object(SickCache, "start", side_effect=RuntimeError("oh")):
            self.line("failed", "message cache", "could not be tried (RuntimeError: oh)")


class ConfigTests(CheckCase):
    def test_errors(self) -> None:
        """All that is wrong is named, and the broker is tried all the same."""
        self.config.update(auth_token="", http_bind="nowhere", middleware=[{"m": "no.Such"}])
        status, lines = self.check()
        failed = [line for line in lines if line.startswith("failed")]
        for words, line in zip(("http_bind", "auth_token", "middleware m"), failed, strict=True):
            with case(words=words, line=line):
                self.assertIn(f"config: {words}", line)
        self.assertIn("ok      vhost: user 'vumi' may use '/develop'", lines)
        self.assertEqual((status, self.turn.asked), (1, []))

    def test_file(self) -> None:
        """A file that cannot be used is named."""
        self.flags = ["--config", "/no/such.yaml"]
        self.line("failed", "config", "/no/such.yaml: cannot be read")

    def test_unknown_key(self) -> None:
        """A misspelt option is a warning with the nearest one."""
        self.config["max_retry"] = 5
        self.line("warning", "config", "max_retry is not known, and is ignored: did you mean max_retries?")

    def test_middleware_options(self) -> None:
        """The options of a middleware are known."""
        self.config.update(middleware=[{"log_all": "LoggingMiddleware"}], log_all={"log_level": "info"})
        self.assertEqual(self.check()[1][-1], "13 ok, 0 warning, 0 failed")

    def test_middleware_that_cannot_be_made(self) -> None:
        """A middleware that raises is a line, as the config's other errors are."""
        self.config["middleware"] = [{"m": "tests.commands.test_channel_check.BrokenMiddleware"}]
        self.line("failed", "config", "no such table")

    def test_set_option(self) -> None:
        """Options may be laid over the file, as for the worker: also by another name than the file's."""
        self.config["transport_name"] = self.config.pop("connector_name")
        self.flags = ["--set-option", "connector_name:c"]
        self.assertEqual(self.check()[0], 0)


class FleetTests(CheckCase):
    """A file of many channels."""

    def setUp(self) -> None:
        super().setUp()
        own = {name: self.config.pop(name) for name in ("http_bind", "connector_name", "auth_token")}
        channels = [{"connector_name": name, "auth_token": own["auth_token"]} for name in ("c", "d")]
        self.config = {"http_bind": own["http_bind"], "defaults": self.config, "channels": channels}

    def test_all_is_well(self) -> None:
        """Each channel's queues, its Turn and its cache are tried; the port once."""
        status, lines = self.check()
        self.assertEqual(lines[0], f"ok      config: {self.path} is right; its 2 channels are c, d")
        for line in (
            "ok      queue c.inbound: 0 messages for the worker",
            "ok      queue d.inbound: not there yet; the worker makes it",
            "ok      turn (c): reached, and it takes the token: 422 to an empty request, as it should be",
            "ok      turn (d): reached, and it takes the token: 422 to an empty request, as it should be",
            "ok      http_bind: tcp:8080:interface=127.0.0.1 is free",
            "ok      message cache (c): MemoryMessageCache is ready",
            "ok      message cache (d): MemoryMessageCache is ready",
        ):
            with case(line=line):
                self.assertEqual(lines.count(line), 1)
        self.assertEqual((status, len(self.turn.asked)), (0, 2))

    def test_appended(self) -> None:
        """A file to which channels were appended is checked as it is: each channel with its own token."""
        turn, self.turn = self.turn, ChannelTurn()
        for name in "cd":
            options = ChannelOptions()
            options.parseOptions(
                ["create", "--append", "--from-addr", "8864", "--name", "x", "--connector", name,
                 "--endpoint", f"https://our.host/{name}/messages", "--token-env", f"{name.upper()}_TOKEN",
                 "--output", str(self.path), "--api-url", "https://turn.example/v1/numbers"]
            )  # fmt: skip
            post = HttpClient(Clock(), RequestTraversalAgent(self.turn)).post
            creating = create(options.subOptions, TOKEN, post, io.StringIO(), io.StringIO())
            self.assertEqual(self.successResultOf(Deferred.fromCoroutine(creating)), 0)
        self.turn = turn
        with mock.patch.dict(os.environ, {"C_TOKEN": "marker-c", "D_TOKEN": "marker-d"}):
            status, lines = self.check_file()
        self.assertEqual(lines[0], f"ok      config: {self.path} is right; its 2 channels are c, d")
        self.assertEqual(
            [(path, token) for path, token, _ in self.turn.asked],
            [(f"/v1/numbers/{NUMBER}/messages", f"Bearer marker-{name}") for name in "cd"],
        )
        self.assertEqual(status, 0, lines)

    def test_errors(self) -> None:
        """All that is wrong is named with its channel, at once; unknown options are named too."""
        self.config["channels"][1].update(auth_token="", max_retry=1)
        self.config["channels"].append({"connector_name": "c", "auth_token": "x"})
        self.config.update(management_bind="nowhere", zzz=1)
        status, lines = self.check()
        failed = [line for line in lines if line.startswith("failed")]
        for words in ("config: management_bind must", "config: channels[2] (c).connector_name is that of channels[0]",
                      "config: channels[1] (d).auth_token must"):  # fmt: skip
            with case(words=words):
                self.assertTrue(any(words in line for line in failed), (words, failed))
        warned = "\n".join(line for line in lines if line.startswith("warning"))
        self.assertIn(
            "the option channels[1] (d).max_retry is not known, and is ignored: did you mean max_retries?", warned
        )
        self.assertIn("the option zzz is not known", warned)
        self.assertEqual((status, self.turn.asked), (1, []))

    def test_set_option(self) -> None:
        """Options laid over the file reach the top level or every channel."""
        self.flags = ["--set-option", "http_bind:127.0.0.1:9", "--set-option", "turn_api_url:https://other.example/x"]
        status, lines = self.check()
        self.assertIn("ok      http_bind: tcp:9:interface=127.0.0.1 is free", lines)
        self.assertEqual([path for path, _, _ in self.turn.asked], ["/x/messages"] * 2)


class BrokerTests(CheckCase):
    def test_away(self) -> None:
        """A broker that is not there is said, and the rest is tried."""
        self.rabbit.failure = ConnectionRefusedError()
        self.line("failed", "broker", "cannot connect (ConnectionRefusedError")
        self.assertEqual(len(self.turn.asked), 1)

    def test_refused(self) -> None:
        """What the broker refuses is told from what it takes, and its reason is said."""
        self.rabbit.refusals = {"connection.start-ok": (403, "ACCESS_REFUSED")}
        self.line("failed", "credentials", "check them")
        self.rabbit.refusals = {"connection.open": (530, "NOT_ALLOWED")}
        self.line("failed", "vhost", "check the vhost")
        self.assertIn("ok      credentials: user 'vumi' may log in", self.check()[1])

    def test_flags(self) -> None:
        """The broker's flags are the worker's."""
        self.flags = ["--amqp-url", "amqp://me:marker@rabbit:5/%2Fhere"]
        lines = self.check()[1]
        self.assertIn("ok      broker: RabbitMQ answers at rabbit:5", lines)
        self.assertIn("ok      vhost: user 'me' may use '/here'", lines)

    def test_rabbitmq_4(self) -> None:
        """RabbitMQ 4 works with the worker, and not with legacy vumi and Junebug; 3 is no reason for a line."""
        self.rabbit.server_properties = {"product": "RabbitMQ", "version": "4.0.5"}
        self.line("warning", "broker version", "RabbitMQ 4.0.5, which this worker can use, but legacy vumi and Junebug")
        self.rabbit.server_properties = {"product": "RabbitMQ", "version": "3.10.8"}
        self.assertNotIn("broker version", "".join(self.check()[1]))

    def test_no_configure(self) -> None:
        """A user that may not declare is no failure where all is there: the worker uses it."""
        for thing in self.things.by_name.values():
            thing.refusal = 403
        self.assertEqual([line for line in self.check()[1] if line.startswith("failed")], [])

    def test_stream(self) -> None:
        """A queue that is a stream is named as that."""
        self.things.by_name["c.inbound"].stream = True
        self.line("failed", "queue c.inbound", "it is a stream, which workers cannot consume")

    def test_missing_queues(self) -> None:
        """Missing queues are no error, except that nobody takes what is sent."""
        del self.things.by_name["c.inbound"]
        self.line("ok", "queue c.inbound", "not there yet; the worker makes it")
        del self.things.by_name["c.outbound"]
        self.line("warning", "queue c.outbound", "no transport has run")

    def test_other_properties(self) -> None:
        """A queue or exchange that vumi's workers could not declare is explained."""
        for name, title in (("c.event", "queue c.event"), ("vumi", "exchange vumi")):
            self.things.by_name[name].refusal = 406
            self.line("failed", title, f"(about {name}). Every vumi worker declares it durable and without arguments")
            self.things.by_name[name].refusal = 0

    def test_permissions(self) -> None:
        """A declaration that we have no permission for is said to be that."""
        self.things.by_name["c.inbound"].refusal = 403
        self.line("warning", "queue c.inbound", "does not let us declare it (about c.inbound), so it is used as it is")
        self.things.by_name["c.inbound"].refusal = 405
        self.line("failed", "queue c.inbound", "check the permissions")

    def test_no_transport(self) -> None:
        """Nobody on the outbound queue is a warning."""
        self.things.by_name["c.outbound"] = Thing(messages=3)
        self.line("warning", "queue c.outbound", "is the transport running? 3 messages")

    def test_second_worker(self) -> None:
        """A worker that runs already is a warning."""
        self.things.by_name["c.inbound"].consumers = 1
        self.line("warning", "queue c.inbound", "another worker takes people's messages already")

    def test_parked(self) -> None:
        """Parked messages are a warning that says what to do."""
        self.things.by_name["c.turn_failures"].messages = 2
        self.line("warning", "queue c.turn_failures", "2 messages, parked: see vumi_turn_failures list")

    def test_shutting_down(self) -> None:
        """A broker that closes the connection while we log in is said with its words."""
        self.rabbit.refusals["connection.open"] = (320, "shutdown")
        self.line("failed", "broker", "320 shutdown")

    def test_lost(self) -> None:
        """A broker that falls silent on the way is said, and the rest is tried."""
        self.rabbit.silent.add("queue.declare")
        self.line("failed", "broker", "the connection was lost")
        self.assertEqual(len(self.turn.asked), 1)


class TurnTests(CheckCase):
    def test_statuses(self) -> None:
        """What each answer says of URL and token."""
        for status, level, words in (
            (400, "ok", "takes the token"),
            (422, "ok", "takes the token"),
            (200, "warning", "answers 200 to an empty request"),
            (401, "failed", "does not take auth_token: 401 (no ***)"),
            (403, "failed", "does not take auth_token: 403"),
            (404, "failed", "is not a channel's"),
            (429, "warning", "the token was not judged"),
            (307, "failed", "redirected (307)"),
            (503, "failed", "it fails: 503"),
            (418, "warning", "says nothing of the token"),
        ):
            with case(status=status, level=level, words=words):
                reply = Reply(status, b'{"error": "no %s"}' % TOKEN.encode(), content_type=b"application/json")
                found, title, text = judged(reply, TOKEN)
                self.assertEqual((found, title), (level, "turn"))
                self.assertIn(words, text)
                self.assertNotIn(TOKEN, text)

    def test_not_turn(self) -> None:
        """A web page is not Turn, whatever its status; neither is a 400 in another form than Turn's, it seems."""
        page = b"<html><head><title>400 Bad Request</title></head><body>nginx</body></html>"
        for status in (200, 302, 400, 401, 404, 502):
            with case(status=status):
                level, _, text = judged(Reply(status, page, content_type=b"text/html"), TOKEN)
                self.assertEqual(level, "failed")
                self.assertIn(f"a web page answers ({status}), not Turn's API: check turn_api_url", text)
        for body in (b"", b"Bad Request", b"[]"):
            with case(body=body):
                level, _, text = judged(Reply(400, body), TOKEN)
                self.assertEqual(level, "warning")
                self.assertIn("not in Turn's form", text)

    def test_errors_in_a_yes(self) -> None:
        """Errors in the body of a 200 are read as their code, and as a refusal of the request where they have none."""
        for body, level, words in (
            ({"errors": [{"title": "no message"}]}, "ok", "takes the token: 200 with errors to an empty request"),
            ({"errors": [{"code": 131008}]}, "ok", "takes the token: 200 with errors"),
            (
                {"errors": [{"code": 401, "title": "expired"}]},
                "failed",
                "does not take auth_token: 401 (in the body of 200)",
            ),
            ({"errors": [{"code": 429}]}, "warning", "the token was not judged"),
            ({"errors": ["x"]}, "ok", "200 with errors"),
            ({"errors": []}, "warning", "answers 200 to an empty request"),
        ):
            with case(body=body, level=level, words=words):
                found, _, text = judged(Reply(200, json.dumps(body).encode()), TOKEN)
                self.assertEqual(found, level)
                self.assertIn(words, text)

    def test_token_refused(self) -> None:
        """A token that Turn does not take is a failure."""
        self.turn.answers(401, {"errors": [{"title": "Unauthorized"}]}, Date=formatdate(NOW, usegmt=True))
        self.line("failed", "turn", "401 (Unauthorized)")

    def test_no_answer(self) -> None:
        """A Turn that does not answer in time is a failure."""
        self.turn.silent = True
        self.config["mo_message_url_timeout"] = 2
        url = "https://turn.example/v1/numbers/1"
        self.line("failed", "turn", f"no answer from {url}: Turn has not answered within 2 s")

    def test_not_encrypted(self) -> None:
        """A URL without TLS is a warning."""
        self.config["turn_api_url"] = "http://turn.example/v1/numbers/1"
        self.line("warning", "turn", "not encrypted")

    def test_proxy(self) -> None:
        """Which proxy is used is said, without its password; one that is wrong is a failure that names the variable."""
        with mock.patch.dict(os.environ, HTTPS_PROXY="http://user:marker@proxy.example:3128"):
            _, lines = self.check()
        self.assertIn(
            "ok      turn: reached through the proxy http://proxy.example:3128, as the environment says", lines
        )
        with mock.patch.dict(os.environ, HTTPS_PROXY="socks5://proxy.example"):
            self.line("failed", "turn", "HTTPS_PROXY")

    def test_clock(self) -> None:
        """A clock that is wrong by more than some seconds is a warning that says which way."""
        for ahead, words in ((-60, "ours is 60 s ahead of Turn's"), (60, "ours is 60 s behind Turn's")):
            self.turn.headers["Date"] = formatdate(NOW + ahead + 0.5, usegmt=True)
            self.line("warning", "clock", words)
            self.machine.rightNow = NOW
        for date in (formatdate(NOW + 4, usegmt=True), formatdate(NOW - 4, usegmt=True)):
            self.turn.headers["Date"] = date
            self.line("ok", "clock", "as far as can be told")
            self.machine.rightNow = NOW

    def test_clock_without_a_zone(self) -> None:
        """HTTP's oldest form of a date names no zone; it is in GMT, wherever this machine is."""
        self.addCleanup(time.tzset)
        with mock.patch.dict(os.environ, TZ="THERE-5:30"):
            time.tzset()
            self.turn.headers["Date"] = time.asctime(time.gmtime(NOW))
            self.line("ok", "clock", "as far as can be told")

    def test_no_clock(self) -> None:
        """A Date that cannot be read is not compared."""
        self.turn.headers["Date"] = "yesterday"
        self.line("warning", "clock", "not compared")


class MachineTests(CheckCase):
    def test_port_taken(self) -> None:
        """A port that another program has is a failure."""
        self.machine.taken.add(8080)
        self.line("failed", "http_bind", "another program listens there")

    def test_port_of_the_worker(self) -> None:
        """A port that is taken while a worker runs on the connector is a warning."""
        self.machine.taken.add(8080)
        self.things.by_name["c.inbound"].consumers = 1
        self.line("warning", "http_bind", "in use, by the worker that runs already")

    def test_port_taken_without_a_broker(self) -> None:
        """Where the broker cannot say whether a worker runs, a taken port is a warning."""
        self.machine.taken.add(8080)
        self.rabbit.failure = ConnectionRefusedError()
        self.assertIn("warning http_bind: in use: if not by the worker, then it cannot start", self.check()[1])

    def test_port_forbidden(self) -> None:
        """A port that we may not listen on is a failure with the system's reason."""
        self.config["management_bind"] = ":80"
        self.machine.forbidden.add(80)
        self.line("failed", "management_bind", os.strerror(errno.EACCES))

    def test_handed_over(self) -> None:
        """A socket that is handed to the worker cannot be tried."""
        self.config["http_bind"] = "systemd:domain=INET:index=0"
        self.line("ok", "http_bind", "systemd hands it to the worker alone")

    def test_cache(self) -> None:
        """A cache that cannot be used is a failure with its reason, at once, and it is stopped."""
        SickCache.stopped = 0
        self.config["message_cache_class"] = "tests.commands.test_channel_check.SickCache"
        self.line("failed", "message cache", "SickCache cannot be used (Redis at h:1: refused)")
        self.assertLess(self.took, 1)
        self.assertEqual(SickCache.stopped, 1)

    def test_slow_cache(self) -> None:
        """A cache of which nothing is known is waited for, for a bounded time."""
        self.config["message_cache_class"] = "tests.commands.test_channel_check.SickCache"
        with mock.patch.object(SickCache, "trouble", ""):
            self.line("failed", "message cache", "SickCache cannot be used (no reason is known)")
        self.assertTrue(CACHE_TIMEOUT <= self.took < CACHE_TIMEOUT + 1, self.took)
