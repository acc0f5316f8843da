"""Endpoints for RabbitMQ: TCP, or TLS with a verified certificate."""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS

from .parameters import ConnectionParameters

#: Seconds for the TCP connection (looking the name up included).
CONNECT_TIMEOUT = 10.0

#: By top-level package and class, so that plain TCP does without these packages.
_TLS_ERRORS = {"OpenSSL.Error", "vumi_turn.CertificateRefused"}
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def make_endpoint(parameters: ConnectionParameters, reactor: Any) -> Any:
    """
    Where to connect to: an ``IStreamClientEndpoint``.

    :raises ValueError: the CA file cannot be read or holds no certificate, or
        no certificate can be for the host.
    """
    kind: Any = HostnameEndpoint
    if "_" in parameters.hostname and not parameters.tls:
        # It refuses such names, which Docker's services may have.
        kind = TCP4ClientEndpoint
    endpoint = kind(reactor, parameters.hostname, parameters.port, timeout=CONNECT_TIMEOUT)
    if not parameters.tls:
        return endpoint
    from ...http.tls import VerifiedHost

    trust = _trust_of(parameters.ca_file) if parameters.ca_file else None
    try:
        host = VerifiedHost(_ascii(parameters.hostname), trust)
    except UnicodeError:
        raise ValueError(f"no certificate can be for the AMQP host {parameters.hostname!r}") from None
    return wrapClientTLS(host, endpoint)


def is_tls_failure(error: BaseException) -> bool:
    """True for a certificate that was not accepted, and other failures of TLS itself."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
    return bool(kinds & _TLS_ERRORS)


def _ascii(hostname: str) -> str:
    """A host name as certificates have it."""
    try:
        return hostname.encode("idna").decode("ascii")
    except UnicodeError:
        return hostname


def _trust_of(path: str) -> Any:
    from twisted.internet.ssl import Certificate, trustRootFromCertificates

    try:
        with open(path, "rb") as source:
            found = _CERTIFICATE.findall(source.read())
        certificates = [Certificate.loadPEM(pem) for pem in found]
    except Exception as error:  # a file that is not there, or not PEM: the library has errors of many kinds
        raise ValueError(f"the AMQP CA file {path} cannot be used: {error}") from None
    if not certificates:
        raise ValueError(f"the AMQP CA file {path} holds no certificate in PEM form")
    return trustRootFromCertificates(certificates)
