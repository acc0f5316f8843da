"""The options that every message cache has, and how ``message_cache_config`` is read."""

from __future__ import annotations

from typing import Any, Mapping, TypeVar

from ..configuration.fields import Config, ConfigErrors, ConfigFloat, ConfigInt

#: The worker's option that holds a cache's own options; errors name both.
OPTION = "message_cache_config"


class CacheConfig(Config):
    """Options of a message cache."""

    timeout = ConfigFloat("Seconds for which a person's messages are remembered.", default=3600.0, exclusive_minimum=0)
    outbound_timeout = ConfigFloat(
        "Seconds for which it is remembered whom a message of ours went to.", default=86400.0, exclusive_minimum=0
    )
    max_messages = ConfigInt(
        "How many inbound and how many outbound messages are in memory at most; the oldest make room.",
        default=100_000,
        minimum=1,
    )


Options = TypeVar("Options", bound=CacheConfig)


def read_cache_config(config_class: type[Options], options: Any) -> Options:
    """
    Read a ``message_cache_config``.

    :param config_class: the cache's own options.
    :param options: as the worker's configuration has them.
    :raises ConfigErrors: a sentence for each wrong or unknown option, which
        names it as ``message_cache_config.timeout``.
    """
    if not isinstance(options, Mapping):
        raise ConfigErrors([f"{OPTION} must be a mapping, not {type(options).__name__}"])
    errors = [
        f"{key} is not an option of this cache; "
        + (hint or f"there are {', '.join(sorted(config_class.known_names()))}")
        for key, hint in config_class.unknown_keys(options)
    ]
    try:
        config = config_class(options)
    except ConfigErrors as error:
        errors = [*error.errors, *errors]
    if errors:
        raise ConfigErrors(f"{OPTION}.{error}" for error in errors)
    return config
