"""Certificates of servers, by real TLS handshakes in memory."""

from __future__ import annotations

from typing import Optional

from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import connectedServerAndClient
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from tests.http.authority import DAY, NOW, Authority
from vumi_turn.http.tls import WRONG, CertificateRefused, VerifiedHost


class Ends(Protocol):
    """Remembers why its connection ended, and what came."""

    def __init__(self) -> None:
        self.reason: Optional[BaseException] = None
        self.data = b""

    def connectionMade(self) -> None:
        self.transport.write(b"hello")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.value


class TlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.authority = Authority("ours")

    def handshake(self, host: str, certificate: PrivateCertificate) -> Ends:
        """Connect to a server that shows this certificate: the client's end."""
        client, clock = Ends(), Clock()
        verified = VerifiedHost(host, self.authority.trust())
        client_factory = TLSMemoryBIOFactory(verified, True, Factory.forProtocol(lambda: client), clock)
        server_factory = TLSMemoryBIOFactory(certificate.options(), False, Factory.forProtocol(Ends), clock)
        _, _, pump = connectedServerAndClient(
            lambda: server_factory.buildProtocol(None), lambda: client_factory.buildProtocol(None)
        )
        for _ in range(5):
            pump.flush()
            clock.advance(0)
        self.flushLoggedErrors(CertificateRefused)
        return client

    def refusal(self, host: str, certificate: PrivateCertificate) -> str:
        """Why a certificate is refused; nothing has been read from its server."""
        end = self.handshake(host, certificate)
        self.assertEqual(end.data, b"")
        self.assertIsInstance(end.reason, CertificateRefused)
        return str(end.reason)

    def test_good(self) -> None:
        """A certificate of a trusted authority for this host is taken, for names and for addresses."""
        for host, name in (
            ("turn.example", "turn.example"),
            ("a.turn.example", "*.turn.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "::1"),
            ("xn--4ca.example", "xn--4ca.example"),
        ):
            with case(host=host, name=name):
                self.assertEqual(self.handshake(host, self.authority.issue(name)).data, b"hello")

    def test_other_host(self) -> None:
        """A certificate for another host is refused, and so is one for a name where an address was dialled."""
        for host, name in (
            ("turn.example", "other.example"),
            ("a.b.turn.example", "*.turn.example"),
            ("192.0.2.1", "turn.example"),
            ("192.0.2.1", "192.0.2.2"),
            ("turn.example", "192.0.2.1"),
        ):
            with case(host=host, name=name):
                refusal = self.refusal(host, self.authority.issue(name))
                self.assertEqual(refusal, "the certificate is for another host name")

    def test_expired(self) -> None:
        """One that has expired is refused."""
        certificate = self.authority.issue("turn.example", NOW - 2 * DAY, NOW - DAY)
        self.assertEqual(self.refusal("turn.example", certificate), WRONG[10])

    def test_not_yet(self) -> None:
        """One that is not valid yet is refused: our clock may be wrong."""
        certificate = self.authority.issue("turn.example", NOW + DAY / 4, NOW + DAY / 2)
        self.assertEqual(self.refusal("turn.example", certificate), WRONG[9])

    def test_self_signed(self) -> None:
        """One that the server made itself is refused."""
        certificate = self.authority.issue("turn.example", self_signed=True)
        self.assertEqual(self.refusal("turn.example", certificate), WRONG[18])

    def test_other_authority(self) -> None:
        """One of an authority that is not trusted is refused."""
        certificate = Authority("another").issue("turn.example")
        self.assertIn("issuer is not trusted here", self.refusal("turn.example", certificate))

    def test_namesake(self) -> None:
        """One of an authority that has the trusted one's name, and another key, is refused."""
        certificate = Authority("ours").issue("turn.example")
        self.assertEqual(self.refusal("turn.example", certificate), WRONG[7])

    def test_not_for_servers(self) -> None:
        """One that is not for servers is refused."""
        certificate = self.authority.issue("turn.example", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        self.assertEqual(self.refusal("turn.example", certificate), WRONG[26])
