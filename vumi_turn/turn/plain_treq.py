"""
treq's client without what Turn's API has no use for: cookies, redirects,
decompression, buffering and treq's own timeout. treq lays these around its
agent anew for each request, which costs more than the request.
"""

from __future__ import annotations

from typing import Any, Optional

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse


class PlainHTTPClient(HTTPClient):  # type: ignore[misc]
    """
    ``treq.client.HTTPClient`` for requests that are all there: the same call
    on treq's own class does the same.
    """

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Optional[Headers] = None,
        data: Optional[bytes] = None,
        allow_redirects: bool = True,
        unbuffered: bool = False,
        reactor: Any = None,
        _stacklevel: int = 2,
        **unsupported: Any,
    ) -> Deferred[IResponse]:
        """
        See ``treq.request``. ``allow_redirects=False`` and ``unbuffered=True``
        have to be said, because nothing else is done.

        :param url: encoded: ASCII, and nothing in it is changed.
        :return: fires with the agent's own response, for ``treq.content``.
        :raises TypeError: for an option that would be ignored.
        """
        if unsupported or allow_redirects or not unbuffered:
            refused = sorted(unsupported) or ["allow_redirects" if allow_redirects else "unbuffered"]
            raise TypeError(f"not done by this client: {', '.join(refused)}")
        producer = self._data_to_body_producer(data) if data is not None else None
        answered: Deferred[IResponse] = self._agent.request(
            method.upper().encode("ascii"), url.encode("ascii"), headers, producer
        )
        return answered
