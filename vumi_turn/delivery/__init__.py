"""
What becomes of each message and status on its way to Turn: the delivery policy.

It knows no HTTP, no AMQP and no vumi. Whoever uses it makes a
:class:`~.request.DeliveryRequest` that can be posted and parked, and awaits
:meth:`.scheduler.DeliveryScheduler.deliver`.
"""

from .accepted import AcceptedIdentities
from .request import DeliveryObserver, DeliveryRequest, Result, Window
from .scheduler import DeliveryScheduler

__all__ = ["AcceptedIdentities", "DeliveryObserver", "DeliveryRequest", "DeliveryScheduler", "Result", "Window"]
