"""Turn's signature."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.cases import case
from vumi_turn.turn.signature import sign, verify

BODY = b'{"foo":"bar"}'
SIGNATURE = b"PzqzmGtlarsXrz6xRD7WwI74//n+qDkVkJ0bQhrsib4="


class SignatureTests(SynchronousTestCase):
    """Signing and verifying."""

    def test_vector(self) -> None:
        """The known signature of a known body is made and accepted."""
        self.assertEqual(sign(b"secret", BODY), SIGNATURE)
        self.assertTrue(verify(b"secret", BODY, SIGNATURE))

    def test_raw_body(self) -> None:
        """The bytes are signed, not what they mean."""
        self.assertFalse(verify(b"secret", b'{"foo": "bar"}', SIGNATURE))
        self.assertTrue(verify(b"secret", b"\xff\x00", sign(b"secret", b"\xff\x00")))

    def test_wrong(self) -> None:
        """A missing or wrong signature is refused, whatever its bytes."""
        for signature in (
            None,
            b"",
            SIGNATURE[:-1],
            SIGNATURE + b"=",
            SIGNATURE.lower(),
            sign(b"other", BODY),
            "PzqzmGtlarsXrz6xRD7WwI74é".encode(),
            b"\xff\xfe\x00",
        ):
            with case(signature=signature):
                self.assertIs(verify(b"secret", BODY, signature), False)

    def test_empty_secret(self) -> None:
        """With an empty secret nothing is accepted, because anybody could have signed it."""
        self.assertIs(verify(b"", BODY, sign(b"", BODY)), False)

    @given(st.binary(min_size=1), st.binary(), st.binary())
    @settings(max_examples=50, deadline=None)
    def test_any(self, secret: bytes, body: bytes, other: bytes) -> None:
        """Any body is accepted with its own signature, and with no other bytes."""
        signature = sign(secret, body)
        self.assertTrue(verify(secret, body, signature))
        self.assertIs(verify(secret, body, other), other == signature)
