"""
An upgrade on one machine, as ``docs/operate.rst`` has it: the new worker is
started as standby and the old one stopped, while Turn POSTs all the while and
people write.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Optional

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.amqp_peer import AmqpPeer
from tests.integration.http_peer import HttpPeer, outbound
from tests.integration.posts import Posts
from tests.integration.process import PATIENCE, end_process, start_process
from tests.integration.rabbitmq import shared_rabbitmq
from tests.integration.redis_server import RedisServer
from tests.integration.requirements import find_program, free_port
from tests.integration.standby_load import Load
from tests.integration.standby_rig import SECRET, TOKEN, standby_config
from tests.integration.turn_server import TurnResponse, TurnServer
from tests.integration.vumi_words import new_person
from tests.integration.waiting import wait_for
from tests.integration.worker import Worker

ETC = Path(__file__).parent.parent.parent / "etc"
CONNECTOR = "upgrade"

#: Starts a command with the socket that is descriptor 3, as systemd does: LISTEN_PID is the process's own.
AS_SYSTEMD = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execvp(sys.argv[1], sys.argv[1:])"


class UpgradeTests(SynchronousTestCase):
    """With two ports behind nginx, and with one socket of systemd's."""

    def setUp(self) -> None:
        self.node = shared_rabbitmq()
        self.peer = AmqpPeer(self.node.port)
        self.addCleanup(self.peer.close)
        self.redis = RedisServer()
        self.addCleanup(self.redis.stop)
        self.redis.start()
        self.turn = TurnServer(TOKEN)
        self.addCleanup(self.turn.close)
        self.turn.decide = lambda request: TurnResponse(delay=0.02)
        self.addCleanup(lambda: self.peer.delete(*(f"{CONNECTOR}.{kind}" for kind in ("inbound", "event", "outbound"))))

    def worker(self, **config: Any) -> Worker:
        """One more worker, not started."""
        worker = Worker({**standby_config(CONNECTOR, self.turn.url, self.redis.url), **config}, self.node.port)
        self.addCleanup(worker.close)
        return worker

    def standby(self, worker: Worker) -> Optional[bool]:
        """Whether a worker says that it is well and waits; None where it is not well."""
        try:
            report = HttpPeer(worker.health_port, SECRET).get("/health").json
        except (OSError, ValueError):
            return None
        return bool(report["standby"]) if report["health"] == "ok" else None

    def upgrade(self, old: Worker, new: Worker, port: int) -> None:
        """
        No POST is refused, all are published; what people say is delivered, once
        each and in order, and the new worker consumes.
        """
        old.start(wait=False)
        wait_for(lambda: self.standby(old) is False, "the old one to consume", PATIENCE)
        posts = Posts(port, SECRET)
        load = Load(self.node.port, "/develop", f"{CONNECTOR}.inbound", people=5)
        posts.wait_for_more()
        new.start(wait=False)
        wait_for(lambda: self.standby(new), "the new one to stand by", PATIENCE)
        posts.wait_for_more()
        old.stop()
        stopped = time.monotonic()
        wait_for(lambda: self.standby(new) is False, "the new one to consume", PATIENCE)
        wait_for(lambda: any(r.began > stopped + 0.5 for r in self.turn.of("messages")), "it to deliver")
        posts.wait_for_more()
        answers = posts.end()
        said = load.end()
        self.assertEqual(posts.refused, [], f"{len(posts.refused)} of {len(answers)}")
        ids = Counter(answer.message_id for answer in answers if answer is not None)
        found = Counter(json.loads(body)["message_id"] for body in self.peer.take_all(f"{CONNECTOR}.outbound"))
        self.assertEqual(found, ids)
        for theirs in said.values():
            wait_for(lambda: set(theirs) <= {r.id for r in self.turn.of("messages")}, "all messages")  # noqa: B023
            mine = [r.id for r in self.turn.of("messages") if r.id in set(theirs)]
            self.assertEqual(mine, theirs)
        self.assertNotIn("Traceback", old.log + new.log)

    def test_two_ports(self) -> None:
        """Two workers, each at a port of its own, behind the sample's nginx."""
        old, new = self.worker(), self.worker()
        port = self.start_nginx(old.port, new.port)
        self.upgrade(old, new, port)

    def start_nginx(self, *ports: int) -> int:
        """nginx with ``etc/nginx.conf``, before these ports; where it listens."""
        program = find_program("VUMI_TURN_NGINX", ["nginx", "/usr/sbin/nginx"], "nginx", "apt-get install nginx-light")
        folder = Path(tempfile.mkdtemp(prefix="vumi_turn_nginx_"))
        self.addCleanup(shutil.rmtree, folder)
        text, port = (ETC / "nginx.conf").read_text(), free_port()
        for old, new in zip((8081, 8082, 8080), (*ports, port), strict=True):
            text, count = re.subn(rf"127\.0\.0\.1:{old}\b", f"127.0.0.1:{new}", text)
            self.assertEqual(count, 1, old)
        temporary = "".join(
            f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        conf = folder / "nginx.conf"
        conf.write_text(
            f"daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
            f"events {{}}\nhttp {{ access_log off; {temporary}\n{text}}}\n"
        )
        process = start_process([program, "-p", str(folder), "-e", f"{folder}/error.log", "-c", str(conf)])
        # Killed, it would leave its own worker process behind.
        self.addCleanup(end_process, process, signal.SIGTERM)
        wait_for(lambda: accepts(port), "nginx to listen")
        return port

    def test_one_socket(self) -> None:
        """Two workers on one socket, which was opened before and handed to both."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.addCleanup(listener.close)
        old, new = (self.inheriting(listener) for _ in range(2))
        self.upgrade(old, new, listener.getsockname()[1])

    def test_reload_with_an_inherited_socket(self) -> None:
        """SIGHUP with a changed option starts the channel anew on the socket that it has inherited."""
        listener = socket.create_server(("127.0.0.1", 0), backlog=500)
        self.addCleanup(listener.close)
        worker = self.inheriting(listener)
        worker.start(wait=False)
        wait_for(lambda: self.standby(worker) is False, "it to consume", PATIENCE)
        worker.config["publish_timeout"] = 3
        worker.reload()
        wait_for(lambda: self.standby(worker) is False, "it to consume again", PATIENCE)
        answer = HttpPeer(listener.getsockname()[1], SECRET).post(outbound(new_person()))
        self.assertEqual(answer.status, 200, answer)

    def inheriting(self, listener: socket.socket) -> Worker:
        """A worker that is started as systemd starts a unit with this socket."""
        port = free_port()
        worker = self.worker(http_bind="systemd:domain=INET:name=vumi_turn", management_bind=f"127.0.0.1:{port}")
        worker.health_port = port
        worker.started_by = lambda command, **given: start_with_socket(command, listener, **given)
        return worker


def start_with_socket(command: list[str], listener: socket.socket, **given: Any) -> subprocess.Popen[Any]:
    """Start a process with a socket as its descriptor 3, as systemd does."""
    variables = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "vumi_turn", **(given.pop("variables", None) or {})}
    descriptor = listener.fileno()

    def hand_over() -> None:
        os.dup2(descriptor, 3, inheritable=True)

    return start_process(
        [command[0], "-c", AS_SYSTEMD, *command],
        variables=variables,
        pass_fds=(3, descriptor),
        preexec_fn=hand_over,
        **given,
    )


def accepts(port: int) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
