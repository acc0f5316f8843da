"""Recognises what answers on the port where RabbitMQ should be."""

from __future__ import annotations

from typing import Optional

_FIRST_OF_METHOD_FRAME = 1
_TLS_RECORDS = (0x15, 0x16)


def foreign_protocol(data: bytes) -> Optional[str]:
    """
    Say what is wrong with the first bytes that a server sent.

    :param data: what arrived first, at least one byte.
    :return: a sentence for the log; None if it may be AMQP.
    """
    if data[0] == _FIRST_OF_METHOD_FRAME:
        return None
    if data.startswith(b"AMQP"):
        version = ".".join(str(each) for each in data[4:8])
        return f"the server there does not speak AMQP 0-9-1 (it asks for AMQP {version}): RabbitMQ 3 or 4 does"
    if data.startswith(b"HTTP/"):
        return "an HTTP server answers there, not RabbitMQ: check host and port (5672, or 5671 for TLS)"
    if data[0] in _TLS_RECORDS:
        return "the server there speaks TLS: use an amqps:// URL"
    return f"what answers there is not RabbitMQ (it began with {data[:20]!r}): check host and port"
