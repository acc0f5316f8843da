"""A test case in which legacy vumi's own workers run beside ours."""

from __future__ import annotations

import atexit
import socket
from functools import partial
from typing import Any, Callable, Mapping, Optional

from tests.integration.bridge_case import BridgeCase
from tests.integration.http_peer import outbound
from tests.integration.legacy_vumi import LegacyWorker, legacy_python, needs_amqp_0_8
from tests.integration.requirements import free_port
from tests.integration.waiting import SOON, wait_for

#: What people dial.
SERVICE = "*120*8864#"

TELNET = "vumi.transports.telnet.TelnetServerTransport"

_running: list[LegacyWorker] = []
_needed: list[Callable[[], None]] = []
_owner: Optional[type] = None


def _close() -> None:
    global _owner
    _owner = None
    while _running:
        _running.pop().close()
    while _needed:
        _needed.pop()()


atexit.register(_close)


class LegacyCase(BridgeCase):
    """
    All tests of a class share the legacy workers too, which start while ours does.

    :cvar telnet: the connector of a telnet transport, none where empty.
    :cvar consumed: the queues that somebody consumes when all are ready.
    """

    telnet = ""
    telnet_port = 0
    consumed: tuple[str, ...] = ()

    def setUp(self) -> None:
        global _owner
        legacy_python()  # skips
        first = _owner is not type(self)
        if first:
            _close()
        super().setUp()
        needs_amqp_0_8(self.node)
        if first:
            _owner = type(self)
            for worker_class, config in self.legacy_workers().items():
                _running.append(LegacyWorker(worker_class, config, self.node.port))
            for queue in self.consumed:
                self.wait_for_legacy(partial(self.peer.consumers, queue), f"to consume {queue}")
        self.peer.purge(*self.consumed)

    def legacy_workers(self) -> Mapping[str, Mapping[str, Any]]:
        """The options of each worker, by its class."""
        if not self.telnet:
            return {}
        type(self).telnet_port = free_port()
        endpoint = f"tcp:interface=127.0.0.1:port={self.telnet_port}"
        return {
            TELNET: {
                "transport_name": self.telnet,
                "twisted_endpoint": endpoint,
                "to_addr": SERVICE,
                "transport_type": "ussd",
            }
        }

    def keep(self, close: Callable[[], None]) -> None:
        """Let something live as long as the legacy workers that need it."""
        _needed.append(close)

    def wait_for_legacy(self, look: Callable[[], Any], what: str) -> None:
        """Wait for what shows that legacy vumi is ready; a worker of it that has ended is told with its log."""

        def still() -> Any:
            for worker in _running:
                worker.check()
            return look()

        wait_for(still, f"legacy vumi {what}", 60)

    def turn_says(self, to: str, content: str, more: bool = True, **fields: Any) -> str:
        """Turn POSTs a message, which is taken; its id."""
        answer = self.http.post(outbound(to, content, waiting_for_user_input=more, **fields))
        self.assertEqual(answer.status, 200, answer.body)
        return answer.message_id

    def turn_hears(self, person: str, nth: int = 0) -> str:
        """The text of a person's first (or a later) message to Turn."""

        def look() -> Any:
            texts = [m["message"]["text"]["body"] for m in self.turn.messages() if m["contact"]["id"] == person]
            return texts[nth:] or None

        found: list[str] = wait_for(look, f"message {nth} of {person} at Turn")
        return found[0]

    def status_of(self, message_id: str, nth: int = 0) -> Any:
        """A status that Turn got for a message of its own, once it has it."""

        def look() -> Any:
            return [status for status in self.turn.statuses() if status["id"] == message_id][nth:] or None

        found: list[Any] = wait_for(look, f"status {nth} of {message_id} at Turn")
        return found[0]


class Telnet:
    """
    A person at a terminal.

    :ivar address: who they are for vumi.
    """

    def __init__(self, port: int) -> None:
        def connect() -> Optional[socket.socket]:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=SOON)
            except ConnectionRefusedError:
                return None

        connected: Any = wait_for(connect, "the telnet transport to listen", 60)
        self._socket = connected
        self._buffer = b""
        host, own_port = self._socket.getsockname()
        self.address = f"{host}:{own_port}"

    def types(self, line: str) -> None:
        """Type a line."""
        self._socket.sendall(line.encode("utf-8") + b"\r\n")

    def reads(self) -> Optional[str]:
        """The next line on the screen; None where the connection was closed."""
        while b"\r\n" not in self._buffer:
            data = self._socket.recv(4096)
            if not data:
                return None
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line.decode("utf-8")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
