"""The options of the message cache in Redis."""

from __future__ import annotations

from importlib.util import find_spec

from ..configuration.fields import ConfigErrors, ConfigInt, ConfigText
from .config import CacheConfig
from .redis_address import ConfigRedisUrl


class RedisCacheConfig(CacheConfig):
    """Options of a message cache in Redis."""

    url = ConfigRedisUrl(
        "Where Redis is: redis://[[user]:password@]host[:port][/database], or rediss:// for TLS.", required=True
    )
    key_prefix = ConfigText("What comes before each key.", default="vumi_turn:")
    max_messages = ConfigInt(
        "How many of each are in this worker's memory as well; the oldest make room.", default=10_000, minimum=1
    )

    def post_validate(self) -> None:
        """Without its library there is no Redis."""
        if find_spec("txredisapi") is None:
            raise ConfigErrors(["url needs txredisapi: pip install 'vumi_turn[redis]'"])
