"""A service that listens, and one that is inside it."""

from __future__ import annotations

import sys
from typing import Any, Callable, Optional
from urllib.parse import urlsplit

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python import usage

log = Logger()


def host_and_port(text: str, flag: str) -> tuple[str, int]:
    """
    :raises usage.UsageError: ``text`` is not ``host:port``.
    """
    try:
        parts = urlsplit("//" + text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port or parts.netloc != text or parts.username is not None:
        raise usage.UsageError(f"{flag} must be host:port, as 127.0.0.1:8010, not {text!r}")
    return host, port


def address(host: str, port: int) -> str:
    """``host:port``, for a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str) -> str:
    """By what to reach from this machine what listens on ``host``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def tell(text: str) -> None:
    """
    Say something to the person at the terminal. Not by the log, whose lines
    are for programs; and ``sys.stdout`` is the log's while twistd runs.
    """
    if sys.__stdout__ is not None:
        print(text, file=sys.__stdout__, flush=True)


class Listening(Service):
    """
    Listens, then starts what is inside; a port that is taken is one line and
    the end.

    :param reactor: the reactor.
    :param title: what it is, for the log.
    :param where: host and port.
    :param factory: what to listen with.
    :param flag: the command's flag that says where, for who has to choose another port.
    :param ready: called when the port is ours.
    :param inside: started when the port is ours, and stopped before it is given back.
    :param stopping: called when it is about to stop.
    :param fatal: called when the port is taken.
    """

    def __init__(
        self,
        reactor: Any,
        title: str,
        where: tuple[str, int],
        factory: IProtocolFactory,
        *,
        flag: str = "--http",
        ready: Callable[[], None] = lambda: None,
        inside: Optional[IService] = None,
        stopping: Callable[[], Any] = lambda: None,
        fatal: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._title = title
        self._where = where
        self._factory = factory
        self._flag = flag
        self._ready = ready
        self._inside = inside
        self._stopping = stopping
        self._fatal = fatal
        self._port: Optional[IListeningPort] = None

    def startService(self) -> None:
        super().startService()
        host, port = self._where
        try:
            self._port = self._reactor.listenTCP(port, self._factory, interface=host)
        except CannotListenError as error:
            reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
            log.critical(
                "{title} cannot start: {where}: {reason}; {flag} names another place",
                title=self._title,
                where=address(host, port),
                reason=reason,
                flag=self._flag,
            )
            self._fatal()
            return
        log.info("{title} is at {url}", title=self._title, url=self.url)
        self._ready()
        if self._inside is not None:
            self._inside.startService()

    @property
    def url(self) -> str:
        """Where it is, for a browser on this machine."""
        host, port = self._where
        return f"http://{address(reachable(host), port)}/"

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        super().stopService()
        if self._port is None:
            return
        await maybeDeferred(self._stopping)
        if self._inside is not None:
            await maybeDeferred(self._inside.stopService)
        await maybeDeferred(self._port.stopListening)
