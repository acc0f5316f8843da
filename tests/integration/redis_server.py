"""A private Redis for a test: its own port, its own folder, gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Optional

from OpenSSL import SSL
from twisted.internet.ssl import PrivateCertificate

from tests.integration.requirements import find_program, free_port


class RedisServer:
    """
    One redis-server process.

    :param password: what clients have to say; none if empty.
    :param tls: speak TLS, as ``localhost``; :meth:`use_certificate` comes before the start.
    """

    def __init__(self, password: str = "", tls: bool = False) -> None:
        self._program = find_program(
            "VUMI_TURN_REDIS_SERVER", ["redis-server"], "Redis", "apt-get install redis-server"
        )
        self.port = free_port()
        self.password = password
        self.tls = tls
        self._folder = tempfile.mkdtemp(prefix="vumi_turn_redis_")
        self._process: Optional[subprocess.Popen[bytes]] = None

    @property
    def url(self) -> str:
        """Where it is, for the cache's config."""
        login = f":{self.password}@" if self.password else ""
        if self.tls:
            return f"rediss://{login}localhost:{self.port}/0"
        return f"redis://{login}127.0.0.1:{self.port}/0"

    def use_certificate(self, authority: bytes, certificate: PrivateCertificate) -> None:
        """
        What it shows from the next start on.

        :param authority: PEM of who issued it.
        """
        folder = Path(self._folder)
        (folder / "authority.pem").write_bytes(authority)
        (folder / "certificate.pem").write_bytes(certificate.dump(SSL.FILETYPE_PEM))
        (folder / "key.pem").write_bytes(certificate.privateKey.dump(SSL.FILETYPE_PEM))

    def start(self) -> None:
        """Start it, empty, and wait until it listens."""
        command = [
            self._program,
            "--tls-port" if self.tls else "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            self._folder,
            "--save",
            "",
            "--appendonly",
            "no",
        ]
        if self.tls:
            command += ["--port", "0", "--tls-auth-clients", "no"]
            for option, name in (("cert", "certificate"), ("key", "key"), ("ca-cert", "authority")):
                command += [f"--tls-{option}-file", f"{self._folder}/{name}.pem"]
        if self.password:
            command += ["--requirepass", self.password]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("redis-server did not start") from None
                time.sleep(0.02)

    def kill(self) -> None:
        """End it at once; its data is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it hang: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def ask(self, *arguments: str) -> str:
        """Run a command with redis-cli."""
        command = ["redis-cli", "-p", str(self.port)]
        environment = dict(os.environ, REDISCLI_AUTH=self.password)
        if not self.password:
            environment.pop("REDISCLI_AUTH", None)
        return subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    def stop(self) -> None:
        """End it and remove its folder."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
