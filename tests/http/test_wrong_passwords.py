"""How often a password can be tried out."""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vumi_turn.http.errors import TooManyAttempts
from vumi_turn.http.wrong_passwords import ADDRESSES, ATTEMPTS, SECONDS, WrongPasswords


class FakeRequest:
    """A request from somewhere."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    def getClientAddress(self) -> Any:
        return self._peer


def ipv4(host: str = "192.0.2.1") -> Any:
    return FakeRequest(IPv4Address("TCP", host, 1))


def ipv6(host: str) -> Any:
    return FakeRequest(IPv6Address("TCP", host, 1))


class WrongPasswordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wrong = WrongPasswords(self.clock)

    def refused(self, request: Any) -> Optional[TooManyAttempts]:
        try:
            self.wrong.check(request)
        except TooManyAttempts as error:
            return error
        return None

    def test_too_many(self) -> None:
        """After so many wrong ones an address is refused until the time of the first of them is over."""
        for _ in range(ATTEMPTS):
            self.assertIsNone(self.refused(ipv4()))
            self.wrong.add(ipv4())
            self.clock.advance(1)
        error = self.refused(ipv4())
        assert error is not None
        self.assertEqual((error.status, error.headers["Retry-After"]), (429, str(int(SECONDS) - ATTEMPTS)))
        self.assertIsNone(self.refused(ipv4("192.0.2.2")))
        self.clock.advance(SECONDS - ATTEMPTS)
        self.assertIsNone(self.refused(ipv4()))

    def test_slowly(self) -> None:
        """Wrong ones that are far apart are not too many."""
        for _ in range(3 * ATTEMPTS):
            self.clock.advance(SECONDS / (ATTEMPTS - 1))
            self.assertIsNone(self.refused(ipv4()))
            self.wrong.add(ipv4())

    def test_ipv6(self) -> None:
        """A network of 64 bits is one address: it is one machine's."""
        for number in range(ATTEMPTS):
            self.wrong.add(ipv6(f"2001:db8::{number}"))
        self.assertIsNotNone(self.refused(ipv6("2001:db8::ffff")))
        self.assertIsNone(self.refused(ipv6("2001:db8:0:1::1")))

    def test_other_peers(self) -> None:
        """All peers of a socket without addresses are one."""
        for _ in range(ATTEMPTS):
            self.wrong.add(FakeRequest(UNIXAddress(None)))  # type: ignore[arg-type]
        self.assertIsNotNone(self.refused(FakeRequest(UNIXAddress("/x"))))

    def test_bounded(self) -> None:
        """No more addresses are remembered than a thousand."""
        for number in range(ADDRESSES + 5):
            self.wrong.add(ipv4(f"10.0.{number // 256}.{number % 256}"))
        self.assertEqual(len(self.wrong._wrong), ADDRESSES)
