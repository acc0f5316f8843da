"""A middleware: adds a line to what people are told while the office is closed."""

from typing import Any

from vumi_turn.configuration.fields import ConfigInt, ConfigText
from vumi_turn.timing.clock import wall_clock_of
from vumi_turn.vumi.messages import TransportUserMessage
from vumi_turn.vumi.middleware import BaseMiddleware, BaseMiddlewareConfig

HOUR, DAY = 3600, 86400


class OpeningHoursConfig(BaseMiddlewareConfig):
    """Options of the opening hours."""

    opens = ConfigInt("The hour (UTC) at which the office opens.", default=6, minimum=0, maximum=23)
    closes = ConfigInt("The hour (UTC) at which the office closes.", default=15, minimum=1, maximum=24)
    line = ConfigText("What is added while it is closed.", default="(Our office is closed now.)")


class OpeningHours(BaseMiddleware):
    """Sees every message to people on its way out, and returns another one: messages are frozen."""

    CONFIG_CLASS = OpeningHoursConfig

    def setup_middleware(self) -> None:
        self.now = wall_clock_of(self.worker.reactor)

    def handle_publish_outbound(self, message: TransportUserMessage, connector_name: str) -> Any:
        hour = self.now() % DAY // HOUR
        if self.config.opens <= hour < self.config.closes:
            return message
        return message.replace(content=f"{message.content or ''}\n{self.config.line}".strip())
