"""
A RabbitMQ node of the tests' own: free ports of 127.0.0.1, a temporary folder,
its own epmd, nothing shared with a node that may run on the machine.
"""

from __future__ import annotations

import atexit
import functools
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Optional

from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate

from tests.integration.requirements import find_program, free_port

HINT = "install RabbitMQ (Debian: apt-get install rabbitmq-server)"

USERNAME = PASSWORD = "vumi"
VHOST = "/develop"

#: Seconds that a start or a stop may take on a busy machine.
PATIENCE = 90.0

#: A line of its log that tells of an error: its time, its process and its words.
_ERROR = re.compile(r"^(\S+ \S+) \[error\] (<[\d.]+>) ?(.*)$")


class RabbitMQ:
    """
    One node. Its queues survive :meth:`stop`, :meth:`kill` and the next
    :meth:`start`; :meth:`close` ends and removes everything.

    :param tls: listen for TLS too, once there is a :meth:`use_certificate`.
    :ivar port: where it listens, on 127.0.0.1.
    :ivar tls_port: where it speaks TLS.
    """

    def __init__(self, tls: bool = False) -> None:
        server = Path(
            find_program(
                "VUMI_TURN_RABBITMQ_SERVER",
                # The folder of scripts first: Debian's command on PATH wants to be root or rabbitmq.
                ["/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"],
                "RabbitMQ",
                HINT,
            )
        )
        self._epmd_program = find_program("VUMI_TURN_EPMD", ["epmd"], "Erlang's epmd", HINT)
        self._server, self._ctl = server, server.with_name("rabbitmqctl")
        self.port = free_port()
        self.tls_port = free_port() if tls else 0
        self._folder = Path(tempfile.mkdtemp(prefix="vumi_turn_rabbitmq_"))
        self._epmd_port = free_port()
        self._environment = self._make_environment()
        self._epmd: Optional[subprocess.Popen[bytes]] = None
        self._node: Optional[subprocess.Popen[bytes]] = None

    def _make_environment(self) -> dict[str, str]:
        folder = self._folder
        (folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "loopback_users = none\n"
            f"default_vhost = {VHOST}\n"
            f"default_user = {USERNAME}\n"
            f"default_pass = {PASSWORD}\n"
            "default_user_tags.administrator = true\n"
            "disk_free_limit.absolute = 1MB\n"
            "vm_memory_high_watermark.relative = 0.9\n"
            "log.console = false\n" + self._tls_lines()
        )
        (folder / "enabled_plugins").write_text("[].\n")
        (folder / "env.conf").write_text("")
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("RABBITMQ_", "ERL_")) and name != "NOTIFY_SOCKET"
        }
        return {
            **inherited,
            "HOME": str(folder),  # for the cookie
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"vumi_turn_{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "generated"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            # A small, quiet emulator: two schedulers that don't spin.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _tls_lines(self) -> str:
        if not self.tls_port:
            return ""
        return (
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {self._folder}/authority.pem\n"
            f"ssl_options.certfile = {self._folder}/certificate.pem\n"
            f"ssl_options.keyfile = {self._folder}/key.pem\n"
            "ssl_options.verify = verify_none\n"
            "ssl_options.fail_if_no_peer_cert = false\n"
        )

    def use_certificate(self, authority: bytes, certificate: PrivateCertificate) -> None:
        """
        What it shows on its TLS port from the next start on.

        :param authority: PEM of who issued it.
        """
        (self._folder / "authority.pem").write_bytes(authority)
        (self._folder / "certificate.pem").write_bytes(certificate.dump(SSL.FILETYPE_PEM))
        (self._folder / "key.pem").write_bytes(certificate.privateKey.dump(SSL.FILETYPE_PEM))

    @property
    def running(self) -> bool:
        """True between a start and what ended it."""
        return self._node is not None

    @property
    def url(self) -> str:
        """For ``--amqp-url``."""
        return f"amqp://{USERNAME}:{PASSWORD}@127.0.0.1:{self.port}/{VHOST.replace('/', '%2F')}"

    @property
    def pid(self) -> int:
        """Of the Erlang emulator, which is the node."""
        return int((self._folder / "pid").read_text())

    # Life

    def start(self) -> None:
        """Start the node, and return once it accepts AMQP."""
        assert self._node is None, "the node runs already"
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                [self._epmd_program, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        (self._folder / "pid").unlink(missing_ok=True)
        with open(self._folder / "console", "ab") as console:
            self._node = subprocess.Popen(
                [str(self._server)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,  # so that its processes can be ended together
            )
        self._wait_for_amqp()

    def stop(self) -> None:
        """Let the node shut down."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL, to the whole node."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """:meth:`stop` and :meth:`start`."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End everything, and remove the folder."""
        self.kill()
        epmd, self._epmd = self._epmd, None
        if epmd is not None:
            epmd.kill()
            epmd.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def pause(self) -> None:
        """SIGSTOP: the node keeps its connections and is silent."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT after :meth:`pause`."""
        os.kill(self.pid, signal.SIGCONT)

    # What an operator can do

    def ctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; about a second."""
        done = subprocess.run(
            [str(self._ctl), "--quiet", *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).decode(errors="replace")
            raise AssertionError(f"rabbitmqctl {' '.join(arguments)} failed: {said}")
        return done.stdout.decode()

    @functools.cached_property
    def version(self) -> tuple[int, ...]:
        """What ``rabbitmqctl version`` says, as numbers."""
        said = self.ctl("version").strip().splitlines()[-1]
        return tuple(int(part) for part in said.split(".")[:3] if part.isdecimal())

    def errors(self) -> list[str]:
        """
        The errors that its log has, each with the lines that belong to it:
        calls that were refused, channels and connections that it closed.
        """
        found: list[str] = []
        for path in sorted((self._folder / "log").glob("*.log")):
            # An entry's further lines have its time and its process too.
            for line in path.read_text(errors="replace").splitlines():
                entry = _ERROR.match(line)
                if entry is None:
                    continue
                time_and_process = entry[1] + entry[2]
                if found and found[-1].startswith(time_and_process):
                    found[-1] += "\n" + entry[3]
                else:
                    found.append(f"{time_and_process} {entry[3]}")
        return found

    def block(self) -> None:
        """Raise the memory alarm: publishing connections are blocked."""
        self.ctl("set_vm_memory_high_watermark", "0.000001")

    def unblock(self) -> None:
        """End the memory alarm."""
        self.ctl("set_vm_memory_high_watermark", "0.9")

    # Details

    def _wait_for_amqp(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._node is not None
            if self._node.poll() is not None:
                self._node = None
                raise AssertionError(f"RabbitMQ did not start: {self._said()}")
            if self._answers():
                return
            time.sleep(0.1)
        raise AssertionError(f"RabbitMQ did not start within {PATIENCE} s: {self._said()}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"AMQP\x00\x00\x09\x01")
                connection.settimeout(5)
                return bool(connection.recv(1))
        except OSError:
            return False

    def _said(self) -> str:
        return (self._folder / "console").read_text(errors="replace")[-3000:]

    def _end(self, how: signal.Signals) -> None:
        node, self._node = self._node, None
        if node is None:
            return
        if how is signal.SIGTERM:
            node.terminate()
            try:
                node.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(node.pid, signal.SIGKILL)  # the session that start() made
        except ProcessLookupError:
            pass
        node.wait()
        self._wait_until_refused()

    def _wait_until_refused(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("RabbitMQ still listens")


_shared: Optional[RabbitMQ] = None


def shared_rabbitmq() -> RabbitMQ:
    """
    The node that all tests of this process share, running. It ends with the
    process. A test that stops it starts it again.
    """
    global _shared
    if _shared is None:
        node = RabbitMQ()
        try:
            node.start()
        except BaseException:
            node.close()
            raise
        atexit.register(node.close)
        _shared = node
    elif not _shared.running:
        _shared.start()
    return _shared


def parameters(node: RabbitMQ, **changes: Any) -> dict[str, Any]:
    """The node's connection parameters, for ``ConnectionParameters`` and the like."""
    return {
        "hostname": "127.0.0.1",
        "port": node.port,
        "username": USERNAME,
        "password": PASSWORD,
        "vhost": VHOST,
        **changes,
    }
