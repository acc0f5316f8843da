"""The options of :class:`vumi_turn.TurnChannelsApi`, declared once."""

from __future__ import annotations

from typing import Any, Optional

from ..caches import MessageCache
from ..configuration.fields import (
    ConfigBool,
    ConfigChoice,
    ConfigClassName,
    ConfigContent,
    ConfigFloat,
    ConfigHostNames,
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
from ..conversation.errors import InvalidScreenOptions
from ..conversation.screen_options import ScreenOptions
from ..vumi.config import WorkerConfig

#: Smaller screens have no room for text beside the navigation.
SMALLEST_SCREEN = 40

#: Message caches by their plain names.
CACHES = {name: f"vumi_turn.{name}" for name in ("MemoryMessageCache", "RedisMessageCache")}


def check_cache(cache_class: Any, config: dict[str, Any]) -> list[str]:
    """A sentence for each thing that is wrong with the message cache's class or its options."""
    if not issubclass(cache_class, MessageCache):
        return [f"message_cache_class must be a message cache, which {cache_class.__name__} is not"]
    return list(cache_class.check_config(config))


def screen_of(
    size: int, next_key: str, next_label: str, back_key: Optional[str], back_label: str
) -> Optional[ScreenOptions]:
    """
    The screens of a channel.

    :return: None where nothing is shown in pages.
    :raises InvalidScreenOptions: too little room is left for the text.
    """
    return ScreenOptions(size, next_key, next_label, back_key, back_label) if size else None


def check_screen(*options: Any) -> list[str]:
    """A sentence for what is wrong with the options of pages."""
    if 0 < options[0] < SMALLEST_SCREEN:
        return [f"screen_size must be at least {SMALLEST_SCREEN}, or 0 to show nothing in pages, not {options[0]}"]
    try:
        screen_of(*options)
    except InvalidScreenOptions as error:
        return [f"{error.option} {error.details}"]
    return []


class TurnChannelsApiConfig(WorkerConfig):
    """
    Configuration of the bridge between a vumi connector and Turn's Channels API.
    """

    TOGETHER = (
        (("message_cache_class", "message_cache_config"), check_cache),
        (
            ("screen_size", "page_next_key", "page_next_label", "page_back_key", "page_back_label"),
            check_screen,
        ),
    )

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
    management_hosts = ConfigHostNames(
        "Host names of the operator's page; addresses, localhost and the machine's own name are its own too.",
        default=[],
    )
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
    answer_as = ConfigChoice(
        "How a choice of a menu is sent to Turn: text (its title) or interactive (as if it had been tapped).",
        ("text", "interactive"),
        default="text",
    )
    screen_size = ConfigInt(
        "How many characters of GSM 03.38 fit a screen of a session; longer texts are shown in pages. 0 is off.",
        default=160,
        minimum=0,
    )
    page_next_key = ConfigText("What a person types for the next page.", default="98")
    page_next_label = ConfigText("What the next page is called.", default="More")
    page_back_key = optional(ConfigText("What a person types for the page before. Off where it is not given."))
    page_back_label = ConfigText("What the page before is called.", default="Back")
    join_window = ConfigFloat(
        "Seconds for which a message of a session that waits for no input is held for others to join it. 0 is off.",
        default=1.0,
        minimum=0,
    )
    standby = ConfigBool(
        "Whether of several workers on one connector one consumes while the others wait.", default=False
    )
    shutdown_timeout = ConfigFloat("Seconds to finish what is under way when stopping.", default=10.0, minimum=0)
