"""Legacy vumi's USSD transport over HTTP, with a dispatcher, beside our worker."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any, Mapping, Optional
from urllib.parse import urlencode

from tests.integration.legacy_case import SERVICE, LegacyCase
from tests.integration.redis_server import RedisServer
from tests.integration.requirements import free_port
from tests.integration.vumi_words import new_person

TRANSPORT = "vumi.transports.dmark.DmarkUssdTransport"
DISPATCHER = "vumi.dispatchers.endpoint_dispatchers.RoutingTableDispatcher"


class LegacyUssdCase(LegacyCase):
    """
    A test case with a mobile network's gateway that speaks to legacy vumi.

    :cvar transport: the transport's connector.
    """

    transport = ""
    http_port = 0

    def legacy_workers(self) -> Mapping[str, Mapping[str, Any]]:
        """The transport, and the dispatcher between it and the worker."""
        redis = RedisServer()
        redis.start()
        self.keep(redis.stop)
        type(self).http_port = free_port()
        ussd = {
            "transport_name": self.transport,
            "web_path": "/ussd",
            "web_port": self.http_port,
            "redis_manager": {"host": "127.0.0.1", "port": redis.port, "key_prefix": "ussd"},
        }
        dispatcher = {
            "receive_inbound_connectors": [self.transport],
            "receive_outbound_connectors": [self.connector],
            "routing_table": {
                self.transport: {"default": [self.connector, "default"]},
                self.connector: {"default": [self.transport, "default"]},
            },
        }
        return {TRANSPORT: ussd, DISPATCHER: dispatcher}

    def setUp(self) -> None:
        super().setUp()
        self.person = new_person()
        self.pool = ThreadPoolExecutor(4)
        self.addCleanup(self.pool.shutdown)

    def dials(self, person: str, text: str) -> Future[Any]:
        """What the phone shows when the network has the answer: the text, and ``request`` or ``end``."""
        values = {
            "transactionId": f"session of {person}",
            "msisdn": person,
            "ussdServiceCode": SERVICE,
            "transactionTime": "1628345545",
            "creationTime": "1628345545",
            "ussdRequestString": text,
            "response": "false",
        }
        return self.pool.submit(self._get, f"/ussd?{urlencode(values)}")

    def _get(self, path: str) -> Any:
        connection = HTTPConnection("127.0.0.1", self.http_port, timeout=20)
        try:
            connection.request("GET", path)
            answer = json.loads(connection.getresponse().read())
            return answer["responseString"], answer["action"]
        finally:
            connection.close()


class Session:
    """
    A person's session at the gateway.

    :ivar address: the person's.
    """

    def __init__(self, case: LegacyUssdCase) -> None:
        self.address = case.person
        self._case = case
        self._screen: Optional[Future[Any]] = None

    def sends(self, text: str) -> None:
        """The person dials, or types."""
        self._screen = self._case.dials(self.address, text)

    def shows(self) -> tuple[str, bool]:
        """What the gateway shows on the phone, and whether something can be answered to it."""
        assert self._screen is not None, "nothing was sent"
        text, action = self._screen.result()
        return text, action == "request"
