"""An SMTP connection after its negotiation: commands go out in groups, replies come back in order (RFC 2920).

In: octets to send. Out: `Reply` values. Everything the peer says is bounded: a reply that is too long, is none, or
comes unasked ends the connection.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from typing import cast

from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.reply import Reply, parse_reply

LINE = re.compile(rb"([2-5]\d\d)(?:([ -])(.*))?", re.DOTALL)
SIZE = re.compile(r"[0-9]{1,18}")
LEAST_SIZE = 65_536
"""RFC 5321 §4.5.3.1.7. A primary that announces next to nothing must not close our doors; it may say no itself."""
BUFFER_LIMIT = 65_536
LINE_COST = 64
"""What a line of a reply counts beside its text: empty ones cost something too."""
WRITE_WINDOW = 262_144


class Connection(asyncio.Protocol):
    """One open connection. `lost` says why it is no longer usable."""

    def __init__(self, remote: str, keywords: dict[str, str], tls: str) -> None:
        self.remote = remote
        """Host, address and port, as shown in a trace."""
        self.keywords = keywords
        """What the peer announced in reply to EHLO, in lower case, with its arguments."""
        self.tls = tls
        self.lost: str | None = None
        self.transactions = 0
        self.replies_since_start = 0
        """Replies since the last transaction began: none means that a kept connection was dead already."""
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._lines: list[bytes] = []
        self._code = b""
        self._waiting: deque[asyncio.Future[Reply]] = deque()
        self._writable = asyncio.Event()
        self._writable.set()

    def attach(self, transport: asyncio.Transport) -> None:
        """Takes over the transport of a negotiated connection."""
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_WINDOW)

    @property
    def size_limit(self) -> int | None:
        """The largest message the peer takes (RFC 1870), at least what every server takes; None where it said none."""
        text = self.keywords.get("size", "").strip()
        said = int(text) if SIZE.fullmatch(text) else 0
        return max(said, LEAST_SIZE) if said else None

    @property
    def pipelining(self) -> bool:
        return "pipelining" in self.keywords

    def send(self, data: bytes) -> None:
        if self._transport is None or self.lost is not None:
            raise NextHopUnavailable(self.lost or "The connection is closed")
        self._transport.write(data)

    async def drain(self, timeout_s: float) -> None:
        """Waits until the peer has taken most of what was sent. Raises NextHopUnavailable."""
        try:
            await asyncio.wait_for(self._writable.wait(), timeout_s)
        except TimeoutError as error:
            self.close("The peer stopped reading")
            raise NextHopUnavailable("The peer stopped reading") from error
        if self.lost is not None:
            raise NextHopUnavailable(self.lost)

    def expect(self) -> asyncio.Future[Reply]:
        """The next reply in order; raises NextHopUnavailable when it can no longer come."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        if self.lost is not None:
            future.set_exception(NextHopUnavailable(self.lost))
            future.exception()  # who never comes to await it knows from `send`
        else:
            self._waiting.append(future)
        return future

    async def reply(self, future: asyncio.Future[Reply], timeout_s: float) -> Reply:
        """Waits for an expected reply; a peer that is too slow loses the connection."""
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError as error:
            self.close("The peer did not reply in time")
            raise NextHopUnavailable("The peer did not reply in time") from error

    def close(self, reason: str) -> None:
        """Ends the connection at once."""
        self._fail(reason)
        if self._transport is not None:
            self._transport.abort()

    async def quit(self) -> None:
        """Says QUIT and closes, waiting shortly for the answer."""
        if self.lost is None:
            try:
                answer = self.expect()
                self.send(b"QUIT\r\n")
                await self.reply(answer, 2.0)
            except NextHopUnavailable:
                pass
        self.close("The connection was closed by us")

    # ── asyncio.Protocol ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\n")) >= 0:
            line, self._buffer = self._buffer[:end].rstrip(b"\r"), self._buffer[end + 1 :]
            self._take_line(line)
        if len(self._buffer) + sum(map(len, self._lines)) + LINE_COST * len(self._lines) > BUFFER_LIMIT:
            self.close("The peer's reply was too long")

    def _take_line(self, line: bytes) -> None:
        found = LINE.fullmatch(line)
        if found is None or (self._lines and found.group(1) != self._code):
            self.close("The peer's reply was none of SMTP")
            return
        self._code = found.group(1)
        self._lines.append(found.group(3) or b"")
        if found.group(2) == b"-":
            return
        text = " ".join(part.decode("ascii", "replace") for part in self._lines)
        self._lines = []
        reply = parse_reply(int(found.group(1)), text)
        self.replies_since_start += 1
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(reply)
                return
        self.close(f"The peer spoke unasked: {reply}")

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"The connection was lost: {error}" if error else "The peer closed the connection")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _fail(self, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
        self._writable.set()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(NextHopUnavailable(self.lost))
                future.exception()
