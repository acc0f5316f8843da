"""A middleware that fails and tells everything while it does so, as the worst of them would."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from vumi_turn.vumi.middleware import BaseMiddleware

log = Logger()


class FailingMiddleware(BaseMiddleware):
    """Fails on each message, either way, and on each event."""

    def _fail(self, message: Any, connector_name: str) -> Any:
        told = message.to_dict()
        log.error("".join(str(told)).replace("{", "(").replace("}", ")"))
        log.error("Handling {message_id}, {said}", message_id=str(told.get("content")), said=told)
        try:
            raise KeyError(f"{told}")
        except KeyError as error:
            raise ValueError(f"cannot take {told}") from error

    handle_inbound = handle_outbound = _fail

    def handle_event(self, event: Any, connector_name: str) -> Any:
        return self._fail(event, connector_name)
