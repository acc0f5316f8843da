"""
The second consumer of a queue: a window for deliveries beyond the prefetch.

RabbitMQ fixes a consumer's prefetch when it begins to consume. A window that
changes therefore needs a second consumer on the same AMQP channel, which is
cancelled and made again with another prefetch. Deliveries of a cancelled
consumer stay valid, and count for no window any more.
"""

from __future__ import annotations

from typing import Optional

from ..settling import additional_window


class AdditionalWindow:
    """
    How many deliveries the second consumer may hold, and how many it holds.

    :param prefetch: that of the first consumer.
    :ivar tag: the second consumer's tag, None while there is none.
    :ivar size: its prefetch.
    """

    def __init__(self, prefetch: int) -> None:
        self.tag: Optional[bytes] = None
        self.size = 0
        self._prefetch = prefetch
        self._wanted = 0
        self._left_over = 0
        self._holders: dict[int, bytes] = {}

    def want(self, count: int) -> None:
        """Set how many deliveries beyond the prefetch are allowed."""
        self._wanted = additional_window(count, self._prefetch)

    def reset(self) -> None:
        """The channel is gone, and with it all deliveries."""
        self.tag, self.size, self._left_over = None, 0, 0
        self._holders.clear()

    def opened(self, tag: bytes, size: int) -> None:
        """A second consumer begins to consume."""
        self.tag, self.size = tag, size

    def closed(self) -> None:
        """The second consumer is cancelled; its deliveries are left over."""
        self._left_over = len(self._holders)
        self.tag, self.size = None, 0

    def took(self, delivery_tag: int, consumer_tag: bytes) -> None:
        """A delivery came that is not the first consumer's."""
        self._holders[delivery_tag] = consumer_tag
        if consumer_tag != self.tag:
            self._left_over += 1  # it was sent before the cancel arrived

    def settled(self, delivery_tag: int) -> bool:
        """A delivery was settled; return whether it was one of a cancelled second consumer."""
        holder = self._holders.pop(delivery_tag, None)
        if holder is None or holder == self.tag:
            return False
        self._left_over -= 1
        return True

    @property
    def needed(self) -> int:
        """The prefetch that the second consumer should have; 0 for none."""
        return max(0, self._wanted - self._left_over)

    @property
    def fits(self) -> bool:
        """
        True while the second consumer can stay as it is. Small differences are
        left, because a change costs three calls.
        """
        needed, size = self.needed, self.size
        if not size or not needed:
            return size == needed
        return size // 2 < needed < size + max(1, self._prefetch // 2)
