"""Certificates for tests, and an authority that issues them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from typing import Any, Optional

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


class Authority:
    """
    Issues certificates.

    :ivar pem: its own certificate.
    """

    def __init__(self, name: str = "authority") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = self._builder(self.name, self.key, NOW - 10 * DAY, NOW + DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        certificate = builder.sign(self.key, hashes.SHA256())
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def trust(self) -> Any:
        """For who trusts this authority."""
        return trustRootFromCertificates([Certificate.loadPEM(self.pem)])

    def issue(
        self,
        host: str,
        since: datetime = NOW - DAY,
        until: datetime = NOW + DAY,
        usage: Any = ExtendedKeyUsageOID.SERVER_AUTH,
        self_signed: bool = False,
    ) -> PrivateCertificate:
        """A server's certificate and key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        builder = self._builder(subject, key, since, until, issuer=subject if self_signed else self.name)
        builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        certificate = builder.sign(key if self_signed else self.key, hashes.SHA256())
        pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        certificate_and_key: PrivateCertificate = PrivateCertificate.loadPEM(pem)
        return certificate_and_key

    def _builder(
        self, subject: x509.Name, key: Any, since: datetime, until: datetime, issuer: Optional[x509.Name] = None
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(since)
            .not_valid_after(until)
        )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
