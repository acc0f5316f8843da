"""The options that every application has, as in legacy vumi."""

from __future__ import annotations

from ..configuration.fields import Config, ConfigConnectorName, ConfigDict, ConfigInt, ConfigList, ConfigText, optional


class ApplicationConfig(Config):
    """
    Configuration of an application.
    """

    connector_name = ConfigConnectorName(
        "The connector that messages come from and go to; legacy configs call it transport_name.",
        required=True,
        aliases=["transport_name"],
    )
    amqp_prefetch_count = ConfigInt(
        "How many messages of each queue may be in flight at a time; vumi2 calls it worker_concurrency.",
        default=20,
        minimum=1,
        maximum=65535,
        aliases=["worker_concurrency"],
    )
    send_to = ConfigDict("Fixed fields of the messages sent by each endpoint, as in legacy vumi.", default={})
    worker_name = optional(ConfigText("The worker's name in heartbeats; they are sent only where it is given."))
    middleware = ConfigList("Middlewares, as in legacy vumi: a list of 'name: dotted.Class'.", default=[])
