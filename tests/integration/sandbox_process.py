"""The sandbox and the simulated Turn as processes, and a client for their APIs."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any, Mapping, Optional

from tests.integration.process import PATIENCE, start_process, twistd
from tests.integration.requirements import free_port
from tests.integration.waiting import SOON, wait_for


class Api:
    """
    A JSON API on 127.0.0.1.

    :param port: where it is.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self, method: str, path: str, body: Optional[bytes] = None, headers: Optional[Mapping[str, str]] = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of an answer to a JSON request."""
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        status, _, answer = self.request(method, path, data, headers)
        return status, json.loads(answer)

    def get(self, path: str) -> Any:
        """What a GET gives, which must work."""
        return self._worked("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """What a POST gives, which must work."""
        return self._worked("POST", path, body)

    def put(self, path: str, body: Any) -> Any:
        """What a PUT gives, which must work."""
        return self._worked("PUT", path, body)

    def _worked(self, method: str, path: str, body: Any) -> Any:
        status, value = self.call(method, path, body)
        if status != 200:
            raise AssertionError(f"{method} {path} was answered {status}: {value}")
        return value


class TwistdProcess:
    """
    A ``twistd -n`` command that goes on until it is stopped.

    :param command: its name and its flags.
    :param variables: added to its environment.
    :param folder: where it is started, instead of one of its own.
    """

    def __init__(
        self, *command: str, variables: Optional[Mapping[str, str]] = None, folder: Optional[Path] = None
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="vumi_turn_sandbox_"))
        self._log = self._folder / "log"
        with open(self._log, "wb") as log:
            self._process = start_process(
                [*twistd(), "-n", "--pidfile=", *command],
                folder=folder or self._folder,
                variables=variables,
                stdout=log,
                stderr=log,
            )

    @property
    def log(self) -> str:
        """All that it has written."""
        return self._log.read_text(errors="replace")

    def wait_for_api(self, port: int, path: str) -> Api:
        """The API, once it answers."""
        api = Api(port)

        def look() -> bool:
            if self._process.poll() is not None:
                raise AssertionError(f"the process has ended; its log:\n{self.log[-5000:]}")
            try:
                return api.request("GET", path)[0] == 200
            except OSError:
                return False

        wait_for(look, f"{path} to answer", PATIENCE)
        return api

    def wait(self) -> int:
        """Its exit status, when it ends by itself."""
        return self._process.wait(PATIENCE)

    def stop(self) -> int:
        """SIGTERM, and its exit status: negative for a signal's number."""
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def close(self) -> None:
        """End it, if it has not ended, and remove its folder."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class Sandbox:
    """
    A running ``vumi_turn_sandbox`` on free ports.

    :param flags: more of its flags.
    :param ports: the page's and the worker's, instead of free ones.
    :param variables: added to its environment.
    :param folder: where it is started, instead of one of its own.
    :ivar api: its API; paths begin with ``/api``.
    """

    def __init__(
        self,
        *flags: str,
        ports: Optional[tuple[int, int]] = None,
        variables: Optional[Mapping[str, str]] = None,
        folder: Optional[Path] = None,
    ) -> None:
        self.port, self.worker_port = ports or (free_port(), free_port())
        self.url = f"http://127.0.0.1:{self.port}/"
        self.process = TwistdProcess(
            "vumi_turn_sandbox",
            *("--http", f"127.0.0.1:{self.port}", "--worker-http", f"127.0.0.1:{self.worker_port}"),
            *flags,
            variables=variables,
            folder=folder,
        )
        try:
            self.api = self.process.wait_for_api(self.port, "/api/health")
            wait_for(lambda: self.health()["health"] == "ok", "the worker's health", PATIENCE)
        except AssertionError:
            self.process.close()
            raise

    def health(self) -> Any:
        """Health, counters and what is parked."""
        return self.api.get("/api/health")

    def phone(self, number: str) -> Any:
        """A phone as it is."""
        return self.api.get(f"/api/phones/{number}")

    def dial(self, number: str, code: str = "*120*8864#") -> str:
        """Dial; the id of the message."""
        name: str = self.api.post(f"/api/phones/{number}/dial", {"code": code})["id"]
        return name

    def sms(self, number: str, text: str) -> str:
        """Send an SMS; the id of the message."""
        name: str = self.api.post(f"/api/phones/{number}/sms", {"text": text})["id"]
        return name

    def entries(self, number: str) -> Any:
        """A person's conversation as Turn sees it."""
        return self.api.get(f"/api/conversations/{number}")["entries"]

    def texts(self, number: str) -> list[str]:
        """What came to a phone by SMS."""
        return [one["text"] for one in self.phone(number)["texts"] if one["direction"] == "in"]

    def faults(self, **change: Any) -> Any:
        """Change the faults."""
        return self.api.put("/api/faults", change)

    def wait_for_screen(self, number: str, words: str) -> Any:
        """The phone, once its screen shows these words."""

        def look() -> Any:
            phone = self.phone(number)
            return phone if words in (phone["screen"] or "") else None

        return wait_for(look, f"the screen to show {words!r}", SOON)

    def close(self) -> None:
        """End it."""
        self.process.close()
