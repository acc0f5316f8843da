"""What takes the requests that Turn's POSTs hold; :mod:`vumi_turn.outbound` has the one there is."""

from __future__ import annotations

from typing import Protocol

from .payloads import OutboundRequest


class Client(Protocol):
    """Who waits for the answer to a request."""

    @property
    def present(self) -> bool:
        """False once the client has closed its side of the connection, or all of it."""


class OutboundHandler(Protocol):
    """Publishes a message for each request, once however often the request is sent."""

    async def accept(self, request: OutboundRequest, key: bytes, client: Client) -> str:
        """
        Publish the message that a request asks for. A cancelled wait ends
        nothing but itself.

        :param key: the same for the same body, such as its signature.
        :return: the message's id, once the broker has the message.
        :raises ApiError: with what the request is to be answered.
        """

    def answered(self, request: OutboundRequest, key: bytes, message_id: str, was_read: bool) -> None:
        """
        The 200 with what :meth:`accept` gave has been written.

        :param was_read: False where the client may not have seen it. It may
            be told once more so, after it was True.
        """

    def client_left(self, key: bytes, message_id: str) -> None:
        """The client has gone without that 200."""
