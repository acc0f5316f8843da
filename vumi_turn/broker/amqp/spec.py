"""The AMQP 0-9-1 definition that txamqp works by, read once for the process."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

import txamqp.spec

#: Says of what RabbitMQ may send and what we send which fields it has.
SPEC_FILE = "amqp-0-9-1.xml"


@functools.lru_cache(maxsize=None)
def load_spec() -> Any:
    """
    The definition as txamqp's ``Spec``. Reading it takes some 50 ms, so it is
    read when the first connection is made and then kept.
    """
    source = resources.files(__package__).joinpath(SPEC_FILE).read_bytes()
    return txamqp.spec.load_string(source, SPEC_FILE)
