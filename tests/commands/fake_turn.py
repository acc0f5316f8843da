"""A Turn in memory that makes channels, or answers as it is told."""

from __future__ import annotations

import json
from typing import Any, Optional

from twisted.web.resource import Resource

TOKEN = "marker-token-of-a-number"
SECRET = 'marker: "secret" \\ #'
NUMBER = "4ef2c3ec-5f3f-4d1a-8d62-3f0c9e2f5b11"
WEBHOOK = "9b1a0c57-0000-4000-8000-00000000000f"
MADE = {"number": {"uuid": NUMBER}, "webhook": {"uuid": WEBHOOK, "hmac_secret": SECRET}}


class ChannelTurn(Resource):
    """
    :ivar status: what it answers.
    :ivar body: with.
    :ivar headers: with these as well.
    :ivar silent: give no answer.
    :ivar asked: path, Authorization and JSON of each request.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body = json.dumps(MADE).encode("ascii")
        self.headers: dict[str, str] = {}
        self.silent = False
        self.asked: list[tuple[str, Optional[str], Any]] = []

    def render_POST(self, request: Any) -> Any:
        token = request.getHeader("Authorization")
        self.asked.append((request.path.decode("ascii"), token, json.loads(request.content.read())))
        request.setResponseCode(self.status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        return 1 if self.silent else self.body  # 1 is NOT_DONE_YET

    def answers(self, status: int, body: Any = None, **headers: str) -> None:
        """Answer so from now on; ``body`` is bytes, or becomes JSON."""
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode("utf-8")
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
