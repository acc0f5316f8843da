"""URLs that are encoded once, however often they are asked for."""

from __future__ import annotations

from typing import Any

from hyperlink import EncodedURL

DEFAULT_PORTS = {"http": 80, "https": 443}


class PreparedURL(EncodedURL):
    """A URL that treq may encode as often as it likes: it has been done."""

    _text: str

    @classmethod
    def of(cls, text: str) -> PreparedURL:
        """
        :param text: an http(s) URL; its host name may have any letters.
        """
        given = EncodedURL.from_text(text)
        # An IPv6 address is no name that could be encoded.
        encoded = given.to_uri() if ":" not in given.host else _rest_encoded(given)
        url: Any = cls.from_text(encoded.to_text())
        url._text = EncodedURL.to_text(url)
        prepared: PreparedURL = url
        return prepared

    def to_uri(self) -> PreparedURL:
        return self

    def to_text(self, with_password: bool = False) -> str:
        return self._text

    def replace(self, *changes: Any, **named: Any) -> EncodedURL:
        """What is changed is not prepared any more."""
        return EncodedURL.from_text(self._text).replace(*changes, **named)


def _rest_encoded(url: EncodedURL) -> EncodedURL:
    return url.replace(host="").to_uri().replace(host=url.host)


def port_of(url: EncodedURL) -> int:
    """A URL's port, also where it does not say it."""
    port: int = url.port or DEFAULT_PORTS[url.scheme]
    return port


def host_header(url: EncodedURL) -> bytes:
    """What ``Host`` says for a URL."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    if port_of(url) == DEFAULT_PORTS[url.scheme]:
        return host.encode("ascii")
    return f"{host}:{port_of(url)}".encode("ascii")
