"""Applications in tests, as legacy vumi's ApplicationHelper runs them (vumi/application/tests/helpers.py)."""

from __future__ import annotations

from typing import Any, Generic, Mapping, Optional, TypeVar

from twisted.internet.defer import Deferred

from ..vumi.application import ApplicationWorker
from .dispatch import MessageDispatchHelper
from .messages import MessageHelper
from .worker import WorkerHelper

A = TypeVar("A", bound=ApplicationWorker[Any])


class ApplicationHelper(WorkerHelper, MessageHelper, MessageDispatchHelper, Generic[A]):
    """
    Everything for the test of an application: makes messages, lets them come,
    and has what the application sent.

    :param application_class: what is tested.
    :param message_values: see :class:`.MessageHelper`.
    """

    def __init__(self, application_class: type[A], **message_values: str) -> None:
        MessageHelper.__init__(self, **message_values)
        WorkerHelper.__init__(self, self.transport_name)
        MessageDispatchHelper.__init__(self, self, self)
        self.application_class = application_class

    def get_application(
        self, config: Optional[Mapping[str, Any]] = None, cls: Optional[type[A]] = None, start: bool = True
    ) -> Deferred[A]:
        """
        Make the application.

        :param config: its options; ``connector_name`` is the helper's ``transport_name`` where it is not given.
        :param cls: None is ``application_class``.
        :param start: whether it is started.
        :return: see :meth:`.WorkerHelper.get_worker`.
        """
        return self.get_worker(cls or self.application_class, config or {}, start)
