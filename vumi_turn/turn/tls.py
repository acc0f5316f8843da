"""The names of :mod:`vumi_turn.tls` that speak of Turn's server."""

from __future__ import annotations

from ..tls import CertificateRefused, VerifiedHost

__all__ = ["CertificateRefused", "VerifiedHost"]
