"""
Whom we speak to over TLS, be it Turn or RabbitMQ: the certificate is verified
against the system's authorities, and a refusal says what is wrong with it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Callable

from OpenSSL import SSL
from service_identity import CertificateError, VerificationError
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import optionsForClientTLS, platformTrust
from twisted.python.failure import Failure
from zope.interface import implementer

#: Called by OpenSSL for each certificate of the chain: connection,
#: certificate, error number, depth (0 is the server's own), and whether it is
#: good so far.
VerifyCallback = Callable[[Any, Any, int, int, int], bool]

#: OpenSSL's error numbers. Source: openssl/x509_vfy.h.
WRONG = {
    7: "the certificate was signed by another issuer than the one of that name that is trusted here",
    9: "the certificate is not valid yet",
    10: "the certificate has expired",
    18: "the certificate is self-signed",
    19: "the certificate's chain ends in a self-signed certificate that is not trusted here",
    20: "the certificate's issuer is not trusted here",
    21: "the certificate's issuer is not trusted here, or an intermediate certificate is missing",
    23: "the certificate has been revoked",
    26: "the certificate is not for a server",
}
WRONG_HOST = "the certificate is for another host name"


class CertificateRefused(Exception):
    """The server's certificate is not one to trust; the text says why."""


@implementer(IOpenSSLClientConnectionCreator)
class VerifiedHost:
    """
    TLS connections to one host, with Twisted's settings and the system's
    authorities (``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name others).

    :param host: host name (ASCII) or IP address.
    :param trust: authorities other than the system's.
    """

    def __init__(self, host: str, trust: Any = None) -> None:
        self._host = host
        self._options: Any = optionsForClientTLS(host, trustRoot=trust or platformTrust())

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection: SSL.Connection = self._options.clientConnectionForTLS(tlsProtocol)
        # It stands in for Twisted's own callback, so it has to check the host
        # name too.
        connection.set_verify(
            SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT,
            verifier(self._host, lambda why: tlsProtocol.failVerification(Failure(CertificateRefused(why)))),
        )
        return connection


def verifier(host: str, refuse: Callable[[str], None]) -> VerifyCallback:
    """
    :param refuse: is told why a certificate is refused.
    :return: the callback for one connection. What it raises ends the
        connection too.
    """

    def verify(connection: Any, certificate: Any, error: int, depth: int, good: int) -> bool:
        if not good:
            refuse(WRONG.get(error, f"the certificate was refused (OpenSSL's error {error})"))
            return False
        if depth == 0 and not is_for(certificate.to_cryptography(), host):
            refuse(WRONG_HOST)
            return False
        return True

    return verify


def is_for(certificate: Any, host: str) -> bool:
    """Whether a certificate (of ``cryptography``) is for this host name or IP address."""
    check = verify_certificate_ip_address if _is_address(host) else verify_certificate_hostname
    try:
        check(certificate, host)
    except (VerificationError, CertificateError):
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
