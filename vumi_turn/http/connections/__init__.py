"""
An agent on kept connections for treq to stand on, and the ways to a server.

:func:`make_agent` makes it. Everything else here is behind that.
"""

from .factory import IDLE_TIMEOUT, ClosableAgent, make_agent, parser_factory
from .proxy import ProxyConfigurationError, ProxySettings, proxy_shown
from .requests import BytesProducer, PreparedHeaders
from .response import values_of, whole_body
from .tunnel import ProxyRefused

__all__ = [
    "IDLE_TIMEOUT",
    "BytesProducer",
    "ClosableAgent",
    "PreparedHeaders",
    "ProxyConfigurationError",
    "ProxyRefused",
    "ProxySettings",
    "make_agent",
    "parser_factory",
    "proxy_shown",
    "values_of",
    "whole_body",
]
