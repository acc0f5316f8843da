"""What a benchmark runs on: a private RabbitMQ, an HTTP sink, and messages."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Iterable, Sequence
from urllib.request import urlopen
from uuid import uuid4

import pika

from tests.integration.rabbitmq import PASSWORD, USERNAME, VHOST, RabbitMQ
from tests.integration.requirements import find_program, free_port
from tests.integration.waiting import wait_for

HERE = Path(__file__).parent

HINT = "install nginx (Debian: apt-get install nginx-light)"

#: Bytes of a message, as it lies in the queue.
MESSAGE_SIZE = 500

#: How many different people write, where nothing else is said.
PEOPLE = 1000

TOKEN = "benchmark-token"
SECRET = "benchmark-secret"


class Nginx:
    """
    nginx as Turn: answers 200 to everything, at once.

    :ivar port: where it listens, on 127.0.0.1.
    """

    def __init__(self) -> None:
        program = find_program("VUMI_TURN_NGINX", ["nginx", "/usr/sbin/nginx"], "nginx", HINT)
        self.port = free_port()
        self._asked = 0
        self._folder = Path(tempfile.mkdtemp(prefix="vumi_turn_nginx_"))
        config = self._folder / "nginx.conf"
        config.write_text(
            f"daemon off; worker_processes 1; pid {self._folder}/pid; error_log {self._folder}/error;\n"
            "events { worker_connections 4096; }\n"
            "http {\n"
            f"  access_log off; client_body_temp_path {self._folder}/body; proxy_temp_path {self._folder}/proxy;\n"
            f"  fastcgi_temp_path {self._folder}/f; uwsgi_temp_path {self._folder}/u;\n"
            f"  scgi_temp_path {self._folder}/s;\n"
            "  keepalive_requests 100000000; keepalive_timeout 300;\n"
            f"  server {{ listen 127.0.0.1:{self.port}; default_type application/json;\n"
            '    location / { return 200 "{}"; }\n'
            "    location = /status { stub_status; } }\n"
            "}\n"
        )
        self._process = subprocess.Popen(
            [program, "-c", str(config), "-p", str(self._folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers, "nginx", 10)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @property
    def url(self) -> str:
        """For ``turn_api_url``."""
        return f"http://127.0.0.1:{self.port}/v1/numbers/benchmark"

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        pid = self._process.pid
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]

    def requests(self) -> int:
        """How many requests it has had, without those for this number."""
        with urlopen(f"http://127.0.0.1:{self.port}/status", timeout=10) as answer:
            numbers = answer.read().decode("ascii").splitlines()[2].split()
        self._asked += 1
        return int(numbers[2]) - self._asked

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class PythonSink:
    """
    A sink in a process of its own that answers after a while and notes when
    each message came.

    :param delay: seconds before each answer.
    """

    def __init__(self, delay: float) -> None:
        self.port = free_port()
        self._notes = Path(tempfile.mkdtemp(prefix="vumi_turn_sink_")) / "notes"
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "sink.py"), str(self.port), str(delay), str(self._notes)],
            stdin=subprocess.DEVNULL,
        )

    @property
    def url(self) -> str:
        """For ``turn_api_url``."""
        return f"http://127.0.0.1:{self.port}/v1/numbers/benchmark"

    @property
    def pids(self) -> list[int]:
        """Its process."""
        return [self._process.pid]

    def came(self) -> dict[str, float]:
        """When each message came first, by its id, in Unix seconds."""
        found: dict[str, float] = {}
        if self._notes.exists():
            for line in self._notes.read_text().splitlines():
                name, at = line.split()
                found.setdefault(name, float(at))
        return found

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._notes.parent, ignore_errors=True)


class Queues:
    """The broker as everybody else sees it."""

    def __init__(self, port: int) -> None:
        credentials = pika.PlainCredentials(USERNAME, PASSWORD)
        parameters = pika.ConnectionParameters("127.0.0.1", port, VHOST, credentials, heartbeat=0)
        self._channel = pika.BlockingConnection(parameters).channel()

    def declare(self, name: str) -> None:
        """As legacy vumi does."""
        self._channel.exchange_declare("vumi", "direct", durable=True)
        self._channel.queue_declare(name, durable=True)
        self._channel.queue_bind(name, "vumi", name)

    def purge(self, name: str) -> None:
        """Empty a queue."""
        self._channel.queue_purge(name)

    def publish(self, name: str, bodies: Sequence[bytes]) -> None:
        """Put messages into a queue."""
        self.publish_to((name, body) for body in bodies)

    def publish_to(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Put messages into several queues."""
        properties = pika.BasicProperties(delivery_mode=2)
        name = None
        for name, body in messages:
            self._channel.basic_publish("vumi", name, body, properties)
        if name is not None:
            self.ready(name)  # a round trip: all are in the queues

    def ready(self, name: str) -> int:
        """How many messages wait in a queue."""
        return int(self._channel.queue_declare(name, passive=True).method.message_count)

    def consumers(self, name: str) -> int:
        """How many consumers a queue has."""
        return int(self._channel.queue_declare(name, passive=True).method.consumer_count)


def inbound_message(number: int, transport: str = "bench", size: int = MESSAGE_SIZE, people: int = PEOPLE) -> bytes:
    """
    A person's SMS of ``size`` bytes of JSON.

    :param number: says who the person is.
    :param people: how many different ones there are.
    """
    message = {
        "message_type": "user_message",
        "message_version": "20110921",
        "message_id": uuid4().hex,
        "timestamp": time.strftime("%Y-%m-%d %H:%M:%S.000000", time.gmtime()),
        "to_addr": "8864",
        "from_addr": f"+266{number % people:08}",
        "in_reply_to": None,
        "session_event": None,
        "content": "",
        "transport_name": transport,
        "transport_type": "sms",
        "transport_metadata": {},
        "helper_metadata": {},
        "routing_metadata": {"endpoint_name": "default"},
        "group": None,
        "provider": None,
    }
    message["content"] = "x" * max(size - len(json.dumps(message)), 1)
    return json.dumps(message).encode("ascii")


def cpu_seconds(pid: int) -> float:
    """The CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_bytes(pid: int) -> int:
    """The memory of a process, where what several share counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell the process's memory")


def resident_bytes(pid: int) -> int:
    """The memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel does not tell the process's memory")


def median(values: Sequence[float]) -> float:
    """The median."""
    return statistics.median(values)


def private_broker() -> RabbitMQ:
    """A node that is started."""
    node = RabbitMQ()
    node.start()
    return node


def machine() -> dict[str, Any]:
    """What machine this is, for the record."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return {"cpu": model, "cores": os.cpu_count(), "python": sys.version.split()[0]}
