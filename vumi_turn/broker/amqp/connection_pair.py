"""
Two connections to RabbitMQ, one to consume and one to publish: a broker in an
alarm stops reading the one that publishes, and must still read the
acknowledgements on the other.
"""

from __future__ import annotations

import abc
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from ...timing.named_log import named
from .client import Client
from .parameters import ConnectionParameters
from .robust_connection import ConnectionFailure, RobustConnection
from .size_limit import SizeLimit
from .transport import make_endpoint

log = Logger()


class ConnectionUser(abc.ABC):
    """
    Uses both connections; told when they come and go.

    :ivar consuming_settled: True when what it set up on the consuming connection works, or was refused.
    :ivar publishing_settled: the same of the publishing connection.
    """

    @property
    @abc.abstractmethod
    def consuming_settled(self) -> bool:
        """See the class."""

    @property
    @abc.abstractmethod
    def publishing_settled(self) -> bool:
        """See the class."""

    @abc.abstractmethod
    def consuming_up(self, client: Client) -> None:
        """The consuming connection is logged in."""

    @abc.abstractmethod
    def consuming_lost(self) -> None:
        """The consuming connection is gone."""

    @abc.abstractmethod
    def publishing_up(self, client: Client) -> None:
        """The publishing connection is logged in."""

    @abc.abstractmethod
    def publishing_lost(self) -> None:
        """The publishing connection is gone."""

    @abc.abstractmethod
    def refresh(self) -> None:
        """Something that the state depends on may have changed."""


class ConnectionPair:
    """
    The connections of one broker object, which its scopes share.

    :param parameters: where RabbitMQ is, and who we are there.
    :param reactor: connects, and is the clock.
    :param endpoint: where to connect to (an ``IStreamClientEndpoint``), if not where the parameters say.
    :param connector: named in log lines; empty where the connections are no single one's.
    :raises ValueError: the CA file cannot be used.
    :ivar limit: the broker's ``max_message_size``, once it is known.
    :ivar stopped: True from :meth:`stop` on.
    :ivar failure: why there is no connection, as a sentence; empty while both are logged in.
    """

    def __init__(
        self, parameters: ConnectionParameters, reactor: Any, endpoint: Any = None, connector: str = ""
    ) -> None:
        self._log = named(log, connector)
        self.limit = SizeLimit()
        self.failure = ""
        self._parameters = parameters
        self._users: list[ConnectionUser] = []
        self.stopped = False
        self._was_up = False
        self._logged: set[str] = set()
        target = endpoint or make_endpoint(parameters, reactor)
        self.consuming = RobustConnection(
            "consuming",
            parameters,
            target,
            reactor,
            up=self._consuming_up,
            down=self._down,
            lost=self._consuming_lost,
        )
        self.publishing = RobustConnection(
            "publishing",
            parameters,
            target,
            reactor,
            up=self._publishing_up,
            down=self._down,
            lost=self._publishing_lost,
        )

    @property
    def ready(self) -> bool:
        """True while both connections are logged in."""
        return self.consuming.ready and self.publishing.ready

    @property
    def blocked(self) -> bool:
        """True while RabbitMQ does not read what is published."""
        client = self.publishing.client
        return client is not None and client.blocked

    @property
    def losses(self) -> int:
        """How often an established connection was lost."""
        return self.consuming.losses + self.publishing.losses

    def start(self) -> None:
        """Connect, and connect again after each loss until :meth:`stop`."""
        self.consuming.start()
        self.publishing.start()

    def stop(self, timeout: float) -> Deferred[None]:
        """Close both connections; abort them after ``timeout`` seconds."""
        self.stopped = True
        self._refresh()
        return gatherResults([self.consuming.stop(timeout), self.publishing.stop(timeout)]).addCallback(lambda _: None)

    def add(self, user: ConnectionUser) -> None:
        """Tell a user of the connections, of those that there are at once."""
        self._users.append(user)
        if self.consuming.ready and self.consuming.client is not None:
            user.consuming_up(self.consuming.client)
        if self.publishing.ready and self.publishing.client is not None:
            user.publishing_up(self.publishing.client)

    def remove(self, user: ConnectionUser) -> None:
        """Tell a user nothing more."""
        if user in self._users:
            self._users.remove(user)

    def settled(self) -> None:
        """
        A user's set-up has made progress. A connection is established when all have settled: one that is lost
        by what somebody sets up on it must not count as one that worked, or it would be made again without delay.
        """
        if self.consuming.ready and not self.consuming.established:
            self.consuming.established = all(user.consuming_settled for user in self._users)
        if self.publishing.ready and not self.publishing.established:
            self.publishing.established = all(user.publishing_settled for user in self._users)
        if self.consuming.established and self.publishing.established and not self._was_up and not self.stopped:
            self._log.info("Connected to RabbitMQ at {address}", address=self._parameters.address)
            self._was_up = True
            self._logged.clear()

    def _consuming_up(self, client: Client) -> None:
        self._logged_in()
        for user in list(self._users):
            user.consuming_up(client)

    def _publishing_up(self, client: Client) -> None:
        client.on_blocked = self._blocked
        self._logged_in()
        for user in list(self._users):
            user.publishing_up(client)

    def _logged_in(self) -> None:
        if self.ready:
            self.failure = ""

    def _consuming_lost(self) -> None:
        for user in list(self._users):
            user.consuming_lost()

    def _publishing_lost(self) -> None:
        self.limit.forget()
        for user in list(self._users):
            user.publishing_lost()

    def _blocked(self, blocked: bool, reason: str) -> None:
        if blocked:
            self._log.warn("RabbitMQ blocks publishing: {reason}", reason=reason)
        else:
            self._log.info("RabbitMQ takes messages again")
        self._refresh()

    def _refresh(self) -> None:
        for user in list(self._users):
            user.refresh()

    def _down(self, failure: ConnectionFailure) -> None:
        """Log one line when the connection is lost, and another one only for a failure of another kind."""
        was_up, self._was_up = self._was_up, False
        self.failure = failure.sentence
        self._refresh()
        if self.stopped or failure.kind in self._logged:
            return
        self._logged.add(failure.kind)
        self._log.error(
            "{what} RabbitMQ at {address}: {reason}; trying until it works",
            what="Lost the connection to" if was_up else "Cannot use",
            address=self._parameters.address,
            reason=failure.sentence,
        )
