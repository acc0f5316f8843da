"""How large a message RabbitMQ takes, learned from its refusal."""

from __future__ import annotations

import re
from typing import Optional

from .errors import ChannelRefused

#: How RabbitMQ names its limit when it closes a channel with 406 (rabbit_channel.erl,
#: check_msg_size; "configured" since 3.8).
_TOO_LARGE = re.compile(r"message size \d+ .*larger than .*max size (\d+)")
_PRECONDITION_FAILED = 406


class SizeLimit:
    """
    The broker's ``max_message_size``, which it tells only when it refuses a message.

    :ivar value: the limit in bytes of the body; None while it is not known.
    """

    value: Optional[int] = None

    def learn(self, error: Exception) -> bool:
        """Take the limit from what closed a channel; return whether it was that."""
        found = _TOO_LARGE.search(str(error))
        if not isinstance(error, ChannelRefused) or error.code != _PRECONDITION_FAILED or found is None:
            return False
        self.value = int(found[1])
        return True

    def forget(self) -> None:
        """The connection is gone: the broker may come back with another limit."""
        self.value = None

    def excludes(self, body: bytes) -> bool:
        """Whether the broker is known to refuse this body."""
        return self.value is not None and len(body) > self.value
