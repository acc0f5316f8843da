"""Many channels in one real worker."""

from __future__ import annotations

import os
import time

from tests.integration.bridge_case import BridgeCase
from tests.integration.fleet_case import FLEET, SECRET, FleetCase
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.posts import Posts
from tests.integration.process import run_twistd
from tests.integration.redis_server import RedisServer
from tests.integration.turn_server import TurnResponse
from tests.integration.vumi_words import event, new_person
from tests.integration.waiting import wait_for

#: A secret that is not the fleet's first.
OTHER = "marker-other-secret"


class FleetFlowTests(FleetCase):
    """Two channels, one process."""

    top = {"max_request_size": 2048}

    def setUp(self) -> None:
        super().setUp()
        self.redis = RedisServer("marker-redis-password")
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.fleet.config["defaults"].update(
            message_cache_class="RedisMessageCache", message_cache_config={"url": self.redis.url}
        )
        self.start()

    def test_flows(self) -> None:
        """Each channel's messages, replies and statuses go their own way; one pair of connections carries all."""
        for name in self.names:
            message = self.say(name)
            self.delivered(name, message)
            answer = self.http(name).post(outbound(message["from_addr"], reply_to=message["message_id"]))
            self.assertEqual(answer.status, 200, answer.body)
            sent = self.peer.take_json(f"{name}.outbound")
            self.assertEqual((sent["message_id"], sent["in_reply_to"]), (answer.message_id, message["message_id"]))
            self.peer.publish_json(f"{name}.event", event("ack", answer.message_id))
            status = self.turns[name].wait_for("statuses", answer.message_id).json["status"]
            self.assertEqual(status["recipient_id"], message["from_addr"])
        self.assertEqual([len(turn.messages()) for turn in self.turns.values()], [1, 1])
        wait_for(lambda: len(self.connections()) == 2, "one pair of AMQP connections")
        clients = self.redis.ask("CLIENT", "LIST").splitlines()
        self.assertEqual(len([line for line in clients if "cmd=client" not in line]), 1, clients)
        unknown = self.http("nobody").post(outbound())
        self.assertEqual((unknown.status, unknown.error["title"]), (404, "NotFound"))
        large = self.http("fleet_a").post(outbound(content="x" * 4096))
        self.assertEqual((large.status, large.error["title"]), (413, "BodyTooLarge"))
        another = HttpPeer(self.fleet.port, OTHER, "/fleet_a").post(outbound())
        self.assertEqual(another.status, 401)
        shown = self.http("").get("/metrics").body.decode()
        for name in self.names:
            self.assertIn(f'vumi_turn_consumed_total{{connector="{name}",kind="message"}} 1.0', shown)
        self.fleet.stop()
        self.assertNotIn("Traceback", self.fleet.log)
        self.assertNotIn("marker", self.fleet.log)


class FleetConfigTests(FleetCase):
    """What is wrong is told at once."""

    def test_all_errors(self) -> None:
        """Each channel's errors are told by its place, its name and the option; the status is 1."""
        config = self.fleet.config
        config["channels"][0]["max_retries"] = -1
        del config["channels"][1]["auth_token"]
        config["channels"] += [
            self.channel("fleet_b", vumi_api_path="/elsewhere"),
            self.channel("fleet_d", http_bind="127.0.0.1:1"),
            self.channel("fleet_e", vumi_api_path="/health"),
            self.channel("fleet_f", no_such="option"),
        ]
        self.fleet.write_config()
        arguments = ("-n", "--pidfile=", "vumi_worker", "--worker-class", FLEET, "--config", str(self.fleet.path))
        done = run_twistd(*arguments)
        self.assertEqual(done.returncode, 1, done.stdout)
        for sentence in (
            "channels[0] (fleet_a).max_retries",
            "channels[1] (fleet_b).auth_token",
            "channels[2] (fleet_b).connector_name is that of channels[1] (fleet_b) too",
            "channels[3] (fleet_d).http_bind is the process's own",
            "channels[4] (fleet_e).vumi_api_path",
            "channels[5] (fleet_f).no_such",
        ):
            self.assertIn(sentence, done.stdout)
        self.assertNotIn("marker", done.stdout)


class FleetReloadTests(FleetCase):
    """SIGHUP."""

    names = ("fleet_a", "fleet_b", "fleet_c")

    def setUp(self) -> None:
        super().setUp()
        self.start()

    def test_new_gone_changed_and_same(self) -> None:
        """
        The new one starts, the one that is gone stops, the changed one has its
        new options; a message in flight of the unchanged one is neither sent
        again nor delayed, and the connections stay.
        """
        connections = sorted(self.connections())
        self.turns["fleet_a"].script(TurnResponse(delay=3))
        held = self.say("fleet_a")
        wait_for(lambda: self.turns["fleet_a"].of("messages"), "the POST")
        posted = time.monotonic()
        config = self.fleet.config
        config["channels"] = [
            config["channels"][0],
            self.channel("fleet_b", turn_hmac_secret=OTHER),
            self.channel("fleet_d"),
        ]
        self.fleet.reload()
        self.assertIn("2 channels started, 2 stopped, 1 untouched", self.fleet.log)
        self.delivered("fleet_a", held)
        self.assertLess(time.monotonic() - posted, 4.5)
        self.assertEqual(len(self.turns["fleet_a"].of("messages")), 1)
        self.assertEqual(sorted(self.connections()), connections)
        self.delivered("fleet_d", self.say("fleet_d"))
        self.assertEqual(self.http("fleet_b").post(outbound()).status, 401)
        self.assertEqual(HttpPeer(self.fleet.port, OTHER, "/fleet_b").post(outbound()).status, 200)
        self.assertEqual(self.http("fleet_c").post(outbound()).status, 404)
        wait_for(lambda: self.peer.consumers("fleet_c.inbound") == 0, "its consumer to be gone")
        self.assertEqual(sorted(self.health()["channels"]), ["fleet_a", "fleet_b", "fleet_d"])
        self.assertNotIn('connector="fleet_c"', self.http("").get("/metrics").body.decode())
        self.fleet.stop()
        self.assertNotIn("Traceback", self.fleet.log)

    def test_wrong(self) -> None:
        """A file with errors changes nothing, and the log names each; SIGHUP never ends the process."""
        self.fleet.config["channels"][0]["auth_token"] = "a b"
        self.fleet.config["channels"][1]["max_retries"] = "many"
        del self.fleet.config["channels"][2]
        self.fleet.reload()
        for sentence in ("channels[0] (fleet_a).auth_token", "channels[1] (fleet_b).max_retries"):
            self.assertIn(sentence, self.fleet.log)
        self.fleet.path.write_text("channels: [\n")
        os.kill(self.fleet.pid, 1)
        wait_for(lambda: self.fleet.log.count("the one before stays in use") >= 3, "the log to say so")
        for name in self.names:
            self.delivered(name, self.say(name))

    def test_process_options(self) -> None:
        """What is the process's own and has changed is logged as needing a restart."""
        self.fleet.config["shutdown_timeout"] = 3
        with self.untouched(*self.names):
            self.fleet.reload()
        self.assertIn("The option shutdown_timeout is the process's own: its new value needs a restart", self.fleet.log)
        self.assertIn("0 channels started, 0 stopped, 3 untouched", self.fleet.log)

    def test_secret_from_a_file(self) -> None:
        """A secret that comes from a file is read again."""
        secret = self.fleet.folder / "secret"
        secret.write_text(SECRET + "\n")
        written = self.fleet.path.read_text().replace(
            f"turn_hmac_secret: {SECRET}", f"turn_hmac_secret: !file {secret}"
        )
        self.fleet.path.write_text(written)
        os.kill(self.fleet.pid, 1)
        wait_for(lambda: "nothing in it has changed" in self.fleet.log, "the file to be read")
        secret.write_text(OTHER + "\n")
        os.kill(self.fleet.pid, 1)
        wait_for(lambda: "3 channels started" in self.fleet.log, "the secret to be read")
        self.wait_for_channel("fleet_a", "ok")
        self.assertEqual(self.http("fleet_a").post(outbound()).status, 401)
        self.assertEqual(HttpPeer(self.fleet.port, OTHER, "/fleet_a").post(outbound()).status, 200)


class FleetTroubleTests(FleetCase):
    """What is wrong with one channel is its own."""

    names = ("fleet_a", "fleet_b", "fleet_c")
    defaults = {"mo_message_url_timeout": 30}

    def test_queue_refused(self) -> None:
        """A queue that was declared with other arguments keeps its channel down, with the reason, and no other."""
        self.peer.channel.queue_declare("fleet_b.inbound", durable=True, arguments={"x-max-length": 7})
        self.fleet.start(wait=False)
        wait_for(lambda: self.fleet.health() is not None, "the worker to listen")
        reason = wait_for(lambda: self.amqp_of("fleet_b")["reason"], "the reason")
        self.assertIn("fleet_b.inbound", reason)
        self.assertIn("406", reason)
        self.assertEqual(self.amqp_of("fleet_b")["health"], "down")
        for name in ("fleet_a", "fleet_c"):
            self.wait_for_channel(name, "ok")
        self.assertEqual((self.fleet.health(), self.health()["health"]), (200, "degraded"))
        with self.untouched("fleet_a", "fleet_c"):
            time.sleep(3)
        self.assertEqual(len(self.connections()), 2)
        self.assertEqual(self.http("fleet_b").post(outbound()).status, 200, "its publishing goes on")
        self.peer.delete("fleet_b.inbound")
        self.wait_for_channel("fleet_b", "ok")
        self.delivered("fleet_b", self.say("fleet_b"))

    def amqp_of(self, name: str) -> dict[str, str]:
        """What ``/health`` says of a channel's side of the broker."""
        unknown = {"health": "", "reason": ""}
        found: dict[str, str] = self.health()["channels"].get(name, {}).get("components", {}).get("amqp", unknown)
        return found

    def test_turn_hangs(self) -> None:
        """A channel whose Turn hangs takes no speed from another one at full load."""
        self.start()
        self.turns["fleet_a"].decide = lambda request: TurnResponse(hang=True)
        for _ in range(60):
            self.say("fleet_a")
        wait_for(lambda: len(self.turns["fleet_a"].of("messages")) >= 10, "POSTs that hang")
        said = [self.say("fleet_b") for _ in range(300)]
        began = time.monotonic()
        for message in said:
            self.delivered("fleet_b", message)
        self.assertLess(time.monotonic() - began, 5)  # the hanging POSTs take 30
        self.turns["fleet_a"].release()

    def test_connection_lost(self) -> None:
        """All channels are back after the connections were closed."""
        self.start()
        for name in self.connections():
            self.node.ctl("close_connection", name, "maintenance")
        self.fleet.wait_until_healthy()
        with self.untouched(*self.names):
            pass
        wait_for(lambda: len(self.connections()) == 2, "one pair")


class FleetStopTests(FleetCase):
    """SIGTERM."""

    top = {"shutdown_timeout": 2}

    def test_shutdown_timeout(self) -> None:
        """The process's time for what is under way is each channel's, side by side; what waits goes back."""
        self.start()
        said = {}
        for name in self.names:
            self.turns[name].decide = lambda request: TurnResponse(hang=True)
            said[name] = self.say(name)
            wait_for(lambda: self.turns[name].of("messages"), "the POST")  # noqa: B023
        began = time.monotonic()
        self.fleet.stop()
        self.assertLess(time.monotonic() - began, 6)
        for name in self.names:
            # RabbitMQ puts it back when it has noticed that the connection is gone.
            wait_for(lambda: self.peer.ready(f"{name}.inbound") == 1, "the message to be back")  # noqa: B023


class SingleReloadTests(BridgeCase):
    """SIGHUP with a worker of one channel."""

    connector = "single_reload"

    def test_started_anew(self) -> None:
        """
        The worker is stopped and started with the new options in the same process, and refuses no POST
        meanwhile; a wrong file changes nothing.
        """
        with self.started({}) as worker:
            worker.wait_until_healthy()
            pid = worker.pid
            self.carries(worker)
            posts = Posts(worker.port, self.http.secret)
            self.addCleanup(posts.end)
            posts.wait_for_more()
            worker.config["publish_timeout"] = 3
            worker.reload()
            wait_for(lambda: "TurnChannelsApi has stopped" in worker.log, "the first worker to stop")
            posts.wait_for_more()
            posts.end()
            self.assertEqual(posts.refused, [], f"{len(posts.refused)} of {len(posts.answers)}")
            worker.config["turn_hmac_secret"] = OTHER
            worker.reload()
            worker.wait_until_healthy()
            self.assertEqual(HttpPeer(worker.port, OTHER).post(outbound(new_person())).status, 200)
            self.assertEqual(HttpPeer(worker.port, self.http.secret).post(outbound(new_person())).status, 401)
            worker.config["auth_token"] = ""
            worker.reload()
            self.assertIn("auth_token", worker.log)
            self.assertEqual((worker.pid, worker.health()), (pid, 200))
            worker.stop()
            self.assertNotIn("Traceback", worker.log)
