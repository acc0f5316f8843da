"""
What becomes of each parcel on its way to Turn: the policy of delivery.

It knows no HTTP, no AMQP and no vumi. Whoever uses it makes a
:class:`Parcel` that can be posted and parked, and awaits
:meth:`Courier.deliver`.
"""

from .courier import Courier
from .parcel import PERMANENT, TEMPORARY, Observer, Parcel, Parking, Result
from .verdicts import MESSAGE, STATUS, Answer, Verdict, classify

__all__ = [
    "MESSAGE",
    "PERMANENT",
    "STATUS",
    "TEMPORARY",
    "Answer",
    "Courier",
    "Observer",
    "Parcel",
    "Parking",
    "Result",
    "Verdict",
    "classify",
]
