"""Channels in tests: a whole channel between queues in memory and a simulated Turn."""

from __future__ import annotations

import json
from typing import Any, Mapping, Optional

from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IListeningPort

from ..channel.worker import TurnChannelsApi
from ..outbound.answers import FLUSH_TIME
from ..sandbox.turn_simulator.api import simulator_app
from ..sandbox.turn_simulator.faults import TurnFaults
from ..sandbox.turn_simulator.rate_limit import RateLimit
from ..sandbox.turn_simulator.records import Entry
from ..sandbox.turn_simulator.simulator import TurnSimulator
from ..sandbox.turn_simulator.webhook_client import WebhookClient
from ..sandbox.web import site_of
from ..vumi.messages import FailureMessage
from .application import ApplicationHelper

#: Where the channel listens, and where Turn is, on the clock's own network.
CHANNEL_BIND, TURN_PORT = "127.0.0.1:8080", 8020

#: What Turn gives to a channel.
SECRETS = {"auth_token": "token-of-a-test", "turn_hmac_secret": "secret-of-a-test"}


class ChannelHelper(ApplicationHelper[TurnChannelsApi]):
    """
    Everything for the test of a channel: people's messages come from queues
    in memory as with :class:`.ApplicationHelper`, and Turn is the simulated
    one. Both sides speak HTTP to each other, over connections in memory.

    :param channel_class: what is tested.
    :param calls: how many Turn takes in 60 s; None is no limit.
    :param message_values: see :class:`.MessageHelper`.
    :ivar turn: the simulated Turn. Its conversations have what was said, and
        each answer's statuses; see :class:`.TurnSimulator`.
    """

    def __init__(
        self,
        channel_class: type[TurnChannelsApi] = TurnChannelsApi,
        *,
        calls: Optional[int] = None,
        **message_values: str,
    ) -> None:
        super().__init__(channel_class, **message_values)
        self._webhook_client = WebhookClient(self.clock)
        self.turn = TurnSimulator(
            self.clock,
            token=SECRETS["auth_token"],
            secret=SECRETS["turn_hmac_secret"],
            webhook=f"http://{CHANNEL_BIND}/messages",
            post=self._webhook_client.post,
            limit=None if calls is None else RateLimit(self.clock, calls),
        )
        self._port: Optional[IListeningPort] = None

    def setup(self) -> None:
        """Connect to the queues, and let Turn listen."""
        super().setup()
        site = site_of(simulator_app(self.turn), self.clock, "127.0.0.1")
        self._port = self.clock.listenTCP(TURN_PORT, site, interface="127.0.0.1")

    async def _cleanup(self) -> None:
        self.turn.stop()
        await super()._cleanup()
        self._webhook_client.close()
        if self._port is not None:
            self._port.stopListening()
        self.kick_delivery()

    def get_channel(
        self, config: Optional[Mapping[str, Any]] = None, cls: Optional[type[TurnChannelsApi]] = None
    ) -> Deferred[TurnChannelsApi]:
        """
        Make and start the channel.

        :param config: its options over the helper's, which are those that have no default: ``default_from_addr`` is
            the helper's ``transport_addr``, and Turn's address, token and secret are the simulated one's.
        :param cls: None is ``channel_class``.
        :return: see :meth:`.WorkerHelper.get_worker`.
        """
        own = {
            "http_bind": CHANNEL_BIND,
            "turn_api_url": f"http://127.0.0.1:{TURN_PORT}/v1/numbers/test",
            "default_from_addr": self.transport_addr,
            "transport_type": self.transport_type,
            **SECRETS,
        }
        options = {**own, **(config or {})}
        path = str(options.get("vumi_api_path", "")).strip("/")
        self.turn.webhook = f"http://{CHANNEL_BIND}/{path + '/' if path else ''}messages"
        return self.get_application(options, cls)

    # -- what Turn does ------------------------------------------------------------

    def turn_sends(
        self,
        text: Optional[str],
        to: Optional[str] = None,
        *,
        turn: Optional[Mapping[str, Any]] = None,
        reply_to: Optional[str] = None,
        waiting: bool = False,
        repeats: bool = False,
    ) -> Deferred[Entry]:
        """
        Let Turn send a message to a person, as an agent or a journey does. This takes the clock 10 ms.

        :param to: None is the helper's ``mobile_addr``.
        :param repeats: whether Turn repeats what was answered 5xx, which takes time.
        :return: fires with the line of the conversation: its ``id`` is the message's, ``error`` says why the channel
            did not take it. For the other parameters see :meth:`.TurnSimulator.send`.
        """
        sending = self.turn.send(
            to or self.mobile_addr, text, turn=turn, reply_to=reply_to, waiting=waiting, repeats=repeats
        )
        sent = ensureDeferred(sending)
        self.advance(FLUSH_TIME)  # until then no status would follow
        return sent

    def set_turn_faults(self, *faults: TurnFaults) -> None:
        """
        Let Turn misbehave.

        :param faults: one holds until it is set again; of several each is one request's, or that of its ``times``
            requests, and then Turn is well again. None at all makes Turn well.
        """
        if len(faults) > 1:
            self.turn.api.plan.script(faults)
        else:
            self.turn.api.plan.set(faults[0] if faults else TurnFaults())

    # -- what came to Turn, and what did not ------------------------------------------

    def get_turn_requests(self, kind: str) -> list[Any]:
        """
        The bodies that were POSTed to Turn, those that it refused too, the first one first.

        :param kind: ``message`` or ``status``.
        """
        return [json.loads(record.body)[kind] for record in self.turn.api.records if record.kind == kind]

    def get_conversation(self, address: Optional[str] = None) -> list[Entry]:
        """
        What was said with a person, as Turn shows it.

        :param address: None is the helper's ``mobile_addr``.
        """
        return list(self.turn.conversation(address or self.mobile_addr).entries)

    def get_parked(self, connector_name: Optional[str] = None) -> list[FailureMessage]:
        """What was parked in ``NAME.turn_failures``, the first one first."""
        return self.get_dispatched(connector_name, "turn_failures", FailureMessage)
