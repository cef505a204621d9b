"""An SMTP server of a few lines, for what the scripted one is too well-behaved for.

In: what to say to each line, or a function that does as it likes. Out: a port, and every octet that was heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import SupportsIndex

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def lines_of(answers: list[bytes], *, after_dot: bytes = b"250 ok\r\n", then: Handler | None = None) -> Handler:
    """Greets, then gives these answers, one for each line; after them waits for a lone dot or does `then`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 raw.test\r\n")
        await reader.readline()
        writer.write(b"250-raw.test\r\n250-PIPELINING\r\n250 SIZE 999999999\r\n")
        for answer in answers:
            await reader.readline()
            writer.write(answer)
        if then is not None:
            await then(reader, writer)
            return
        while await reader.readline() != b".\r\n":
            pass
        writer.write(after_dot)
        await reader.read()

    return talk


@asynccontextmanager
async def raw_server(handler: Handler) -> AsyncIterator[tuple[int, bytearray]]:
    """A server that does just what `handler` does; gives its port and what it has heard."""
    heard = bytearray()
    tasks: set[asyncio.Task[None]] = set()

    class Listening(asyncio.StreamReader):
        def feed_data(self, data: Iterable[SupportsIndex]) -> None:
            heard.extend(bytes(data)[:100_000])
            super().feed_data(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def protocol() -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(Listening(), serve)

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
