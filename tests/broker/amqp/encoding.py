"""A RabbitMQ in memory that has exchanges and queues, as far as declarations can tell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from txamqp.connection import Method

from tests.broker.amqp.peer import Peer


@dataclass
class Thing:
    """
    An exchange or a queue.

    :ivar refusal: what another declaration of it is answered; 0 is nothing.
    :ivar stream: a queue that is a stream by its vhost's default.
    """

    messages: int = 0
    consumers: int = 0
    refusal: int = 0
    stream: bool = False


@dataclass
class Things:
    """
    :ivar by_name: what there is.
    :ivar made: the names of what was declared although it was not there.
    """

    by_name: dict[str, Thing] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)

    def peer(self) -> Callable[..., Peer]:
        """For ``FakeRabbit``."""
        things = self

        class ThingsPeer(Peer):
            def _method(self, channel: int, payload: Method) -> None:
                method = payload.method
                kind = method.klass.name
                if method.name != "declare" or f"{kind}.declare" in self.silent:
                    super()._method(channel, payload)
                    return
                fields = {f.name: value for f, value in zip(method.fields, payload.args, strict=True)}
                self._declare(channel, kind, fields[kind], bool(fields["passive"]), bool(fields["arguments"]))

            def _declare(self, channel: int, kind: str, name: str, passive: bool, typed: bool) -> None:
                thing = things.by_name.get(name)
                refusal = 0
                if thing is None:
                    refusal = 404 if passive else 0
                    if not passive:
                        things.made.append(name)
                elif not passive:
                    refusal = 406 if typed and not thing.stream else thing.refusal
                if refusal:
                    self.method(channel, "channel.close", reply_code=refusal, reply_text=f"about {name}")
                    return
                answer: dict[str, Any] = {}
                if kind == "queue" and thing is not None:
                    answer = {"message_count": thing.messages, "consumer_count": thing.consumers}
                self.method(channel, f"{kind}.declare-ok", **answer)

        return ThingsPeer
