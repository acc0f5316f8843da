"""
An HTTP sink: answers every POST with 200 after a while, and notes when it came.

Run as ``sink.py PORT DELAY NOTES``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time

NUMBERS = itertools.count()

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            came = time.time()
            length = 0
            for line in head.split(b"\r\n"):
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            note(await reader.readexactly(length), came)
            if DELAY:
                # From when it came, whatever else there was to do meanwhile.
                await asyncio.sleep(came + DELAY - time.time())
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def note(body: bytes, came: float) -> None:
    """Remember when a message came; what has none of Turn's form is just counted."""
    message = json.loads(body).get("message") or {}
    NOTES.write(f"{message.get('id') or f'number-{next(NUMBERS)}'} {came!r}\n")
    NOTES.flush()


async def main() -> None:
    """Listen for ever."""
    server = await asyncio.start_server(serve, "127.0.0.1", PORT)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    PORT, DELAY = int(sys.argv[1]), float(sys.argv[2])
    with open(sys.argv[3], "w") as NOTES:
        asyncio.run(main())
