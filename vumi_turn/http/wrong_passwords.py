"""A limit on how often a password can be tried out."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from ..timing.shared_bound import BoundedDict
from .errors import TooManyAttempts

#: Wrong passwords from one address, before it is refused.
ATTEMPTS = 5
#: Seconds in which that many are too many, and for which the address is refused then.
SECONDS = 30.0
#: Addresses that are remembered.
ADDRESSES = 1000


class WrongPasswords:
    """
    Counts wrong passwords by the address that they come from; an IPv6 network of 64 bits is one address.

    :param clock: measures the time, monotonic.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._wrong: BoundedDict[str, list[float]] = BoundedDict(ADDRESSES)

    def check(self, request: Request) -> None:
        """
        Before a password is looked at.

        :raises TooManyAttempts: too many from the request's address were wrong of late; also the right one is
            not looked at then.
        """
        times = self._times(_address_of(request))
        if len(times) >= ATTEMPTS:
            raise TooManyAttempts(times[-ATTEMPTS] + SECONDS - self._clock.seconds())

    def add(self, request: Request) -> None:
        """A password was wrong."""
        address = _address_of(request)
        self._wrong.set(address, [*self._times(address), self._clock.seconds()][-ATTEMPTS:])

    def _times(self, address: str) -> list[float]:
        since = self._clock.seconds() - SECONDS
        return [time for time in self._wrong.get(address) or () if time > since]


def _address_of(request: Request) -> str:
    peer: Any = request.getClientAddress()
    host = str(getattr(peer, "host", ""))
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else host
