"""The options that every worker and every application has, as in legacy vumi."""

from __future__ import annotations

from typing import Mapping

from ..configuration.fields import Config, ConfigConnectorName, ConfigDict, ConfigInt, ConfigList, ConfigText, optional

_BROKER = "the broker is named by flags (--amqp-url, --hostname, ...) or in the file of --vumi-config"

#: Keys of vumi2's and Junebug's configurations, and what stands for them here.
OF_OTHERS: Mapping[str, str] = {
    "middlewares": "it is middleware here: a list of 'name: dotted.Class', with the options under the name",
    "class_path": "the class is named by --worker-class; a middleware's by class",
    "worker_class": "the class is named by --worker-class",
    "worker_config": "its options stand at the top of this file",
    "sentry_dsn": "Sentry is set by --sentry",
    "log_level": "the log's level is set by --log-level",
    "concurrency": "it is amqp_prefetch_count here",
    "status_url": "Junebug posts statuses there; here they go to Turn",
    "mo_url": "Junebug posts messages there; here they go to turn_api_url",
    "connectors": "a worker has one: connector_name",
    **dict.fromkeys(
        ("amqp", "amqp_url", "amqp_host", "amqp_hostname", "amqp_port", "amqp_username", "amqp_password", "amqp_vhost"),
        _BROKER,
    ),
    **dict.fromkeys(("hostname", "port", "username", "password", "vhost", "vumi_config"), _BROKER),
}


class WorkerConfig(Config):
    """
    Configuration of a worker.
    """

    HINTS = OF_OTHERS

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


class ApplicationConfig(WorkerConfig):
    """
    Configuration of an application.
    """

    max_failures = ConfigInt(
        "How often the application may fail on a message before it is parked in"
        " <connector_name>.failures_of_application. 0 is never.",
        default=10,
        minimum=0,
    )
