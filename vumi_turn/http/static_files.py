"""Files of a package, served to browsers: pages and the parts that they share."""

from __future__ import annotations

from hashlib import sha256
from importlib import resources
from typing import Optional

from twisted.web.http import CACHED
from twisted.web.iweb import IRequest

#: The types of files that pages are made of; files of other types are not served.
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFiles:
    """
    The files of one folder of a package, read once and kept.

    :param package: the package's dotted name.
    :param folder: the folder inside it; its own folders are not looked into.
    """

    def __init__(self, package: str, folder: str) -> None:
        self._files: dict[str, tuple[str, bytes, bytes]] = {}
        for path in (resources.files(package) / folder).iterdir():
            ending = "." + path.name.rpartition(".")[2]
            if ending in TYPES and path.is_file():
                body = path.read_bytes()
                tag = b'"' + sha256(body).hexdigest()[:20].encode("ascii") + b'"'
                self._files[path.name] = (TYPES[ending], tag, body)

    def names(self) -> set[str]:
        """The names of all files."""
        return set(self._files)

    def respond(self, request: IRequest, name: str) -> Optional[bytes]:
        """
        Answer a request with a file; a browser that has this version of it is told so (304).

        :param name: the file's name, without a path.
        :return: the answer's body; None where there is no such file, and nothing was set on the request.
        """
        found = self._files.get(name)
        if found is None:
            return None
        content_type, tag, body = found
        request.setHeader("Content-Type", content_type)
        request.setHeader("Cache-Control", "no-cache")
        # None is "send it"; what was cached is answered without a body.
        return b"" if request.setETag(tag) is CACHED else body


def design_files() -> StaticFiles:
    """The visual language that all pages share: ``tokens.css``, ``parts.css``, ``parts.js`` and ``icons.svg``."""
    return StaticFiles("vumi_turn.http", "design")
