"""The options of :class:`vumi_turn.TurnChannelsApi`, declared once."""

from __future__ import annotations

from typing import Any

from ..caches import MessageCache
from ..configuration.fields import (
    ConfigBool,
    ConfigClassName,
    ConfigContent,
    ConfigFloat,
    ConfigInt,
    ConfigSecret,
    ConfigSecretDict,
    ConfigServerEndpoint,
    ConfigText,
    ConfigToken,
    ConfigUrl,
    ConfigUrlPath,
    optional,
)
from ..vumi.config import ApplicationConfig

#: Message caches by their plain names.
CACHES = {name: f"vumi_turn.{name}" for name in ("MemoryMessageCache", "RedisMessageCache")}


def check_cache(cache_class: Any, config: dict[str, Any]) -> list[str]:
    """A sentence for each thing that is wrong with the message cache's class or its options."""
    if not issubclass(cache_class, MessageCache):
        return [f"message_cache_class must be a message cache, which {cache_class.__name__} is not"]
    return list(cache_class.check_config(config))


class TurnChannelsApiConfig(ApplicationConfig):
    """
    Configuration of the bridge between a vumi connector and Turn's Channels API.
    """

    TOGETHER = ((("message_cache_class", "message_cache_config"), check_cache),)

    http_bind = ConfigServerEndpoint(
        "Where Turn's POSTs are taken: host:port, [::1]:port or a Twisted server endpoint.", required=True
    )
    vumi_api_path = ConfigUrlPath("The path before /messages, on which Turn's POSTs are taken.", default="")
    turn_api_url = ConfigUrl(
        "The channel's URL at Turn, as https://whatsapp.turn.io/v1/numbers/<channel uuid>.", required=True
    )
    default_from_addr = ConfigText("The sender of messages that answer none.", required=True)
    auth_token = ConfigToken("The channel's token for Turn's API.", required=True)
    turn_hmac_secret = ConfigSecret("The secret that Turn signs its POSTs with.", required=True)
    request_timeout = ConfigFloat(
        "Seconds for the whole handling of a POST from Turn.", default=240.0, exclusive_minimum=0
    )
    publish_timeout = ConfigFloat(
        "Seconds for the broker to confirm a message, before Turn is told 503. Turn itself waits 5.",
        default=4.0,
        exclusive_minimum=0,
    )
    mo_message_url_timeout = ConfigFloat("Seconds for each POST of a message.", default=10.0, exclusive_minimum=0)
    event_url_timeout = ConfigFloat("Seconds for each POST of a status.", default=10.0, exclusive_minimum=0)
    transport_type = ConfigText("The transport_type of messages that answer none.", default="sms")
    message_cache_class = ConfigClassName(
        "What remembers messages for replies and statuses: MemoryMessageCache, or RedisMessageCache, or a dotted name.",
        default="vumi_turn.MemoryMessageCache",
        short_names=CACHES,
    )
    message_cache_config = ConfigSecretDict("Options of the message cache.", default={})
    max_retries = ConfigInt("How many tries follow the first one in a round.", default=3, minimum=0)
    retry_delay_exponent = ConfigFloat("How fast the waits between tries grow.", default=2.0, minimum=0)
    retry_delay_base = ConfigFloat("The base of the waits between tries.", default=2.0, exclusive_minimum=0)
    max_message_age = optional(
        ConfigFloat(
            "Seconds after which a message of a session is parked rather than delivered. Off where it is not given.",
            exclusive_minimum=0,
        )
    )
    max_deliveries = ConfigInt(
        "How often a message may go back to a queue that counts that, before it is parked: fewer times than the"
        " queue's delivery limit, at which it drops it.",
        default=15,
        minimum=1,
    )
    management_bind = optional(
        ConfigServerEndpoint(
            "An address of their own for /health, /live, /metrics and the operator's page, which then leave http_bind."
        )
    )
    management_password = optional(
        ConfigSecret("The password with which the operator's page may replay and drop; without one it only shows.")
    )
    management_content = ConfigBool("Whether the operator's page shows what people wrote.", default=False)
    trace_key = optional(
        ConfigSecret("The key of the hashes of addresses; give one where several processes are asked together.")
    )
    empty_message_body = optional(
        ConfigContent("The text for a message without one. Default: the address that it came to.")
    )
    max_request_size = ConfigInt(
        "How many bytes a POST from Turn may have.", default=262144, minimum=1024, maximum=64 * 1024 * 1024
    )
    repeat_window = ConfigFloat(
        "Seconds after a 200 in which the same request of Turn's is taken for a repeat of it. 0 is off.",
        default=5.0,
        minimum=0,
    )
    shutdown_timeout = ConfigFloat("Seconds to finish what is under way when stopping.", default=10.0, minimum=0)
