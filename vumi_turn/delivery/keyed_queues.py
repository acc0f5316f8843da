"""
Order: requests of one kind with the same key form a queue, and are sent one after another.
"""

from __future__ import annotations

from collections import deque
from typing import Optional

from .task import DeliveryTask


class KeyedQueues:
    """The queues; one exists while it has a task."""

    def __init__(self) -> None:
        self._queues: dict[tuple[str, str], deque[DeliveryTask]] = {}

    def add(self, task: DeliveryTask) -> bool:
        """Add a task at the end of its queue. True if it is the head, so that it may start."""
        request = task.request
        key = (request.kind, request.key)
        queue = self._queues.get(key)
        if queue is None:
            self._queues[key] = deque((task,))
            return True
        queue.append(task)
        return False

    def remove(self, task: DeliveryTask) -> Optional[DeliveryTask]:
        """Remove a task. Gives the next of its queue, if that may start now."""
        request = task.request
        key = (request.kind, request.key)
        queue = self._queues.get(key)
        if queue is None:
            return None
        if queue[0] is not task:
            if task in queue:
                queue.remove(task)
            return None
        queue.popleft()
        if queue:
            return queue[0]
        del self._queues[key]
        return None

    def cut(self, task: DeliveryTask) -> list[DeliveryTask]:
        """Remove a task and all behind it in its queue; gives them in the queue's order."""
        request = task.request
        key = (request.kind, request.key)
        queue = self._queues.get(key)
        if queue is None or task not in queue:
            return [task]
        cut: list[DeliveryTask] = []
        while not cut or cut[-1] is not task:
            cut.append(queue.pop())
        if not queue:
            del self._queues[key]
        return cut[::-1]

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._queues

    def __len__(self) -> int:
        return len(self._queues)
