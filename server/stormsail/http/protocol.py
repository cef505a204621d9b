"""uvicorn's HTTP/1.1 protocol with limits it lacks, and with the peer's user on the control socket.

In: bytes of a connection. Out: ASGI scopes. A connection that sends no complete header in time, or one that is too
large, is closed (RFC 9112 §9.5, RFC 6585 §5).
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .principal import PEER_SCOPE_KEY, PeerCredentials

if TYPE_CHECKING:
    from asyncio import TimerHandle

HEADER_LIMIT = 65_536
HEADER_PATIENCE_S = 20.0
CREDENTIALS = struct.Struct("3i")
TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class GuardedProtocol(HttpToolsProtocol):
    """One connection."""

    _header_bytes = 0
    _in_header = True
    _patience: TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_header:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._in_header and self._header_bytes > HEADER_LIMIT:
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_header = True
        self._be_patient()

    def on_headers_complete(self) -> None:
        self._in_header = False
        self._header_bytes = 0
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_header = True

    def _be_patient(self) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(HEADER_PATIENCE_S, self._give_up)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class ControlProtocol(GuardedProtocol):
    """One connection to the control socket: its requests carry the peer's user."""

    _peer: PeerCredentials | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._peer = _credentials(transport)
        super().connection_made(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)[PEER_SCOPE_KEY] = self._peer


def _credentials(transport: asyncio.Transport) -> PeerCredentials:
    end = transport.get_extra_info("socket")
    raw = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
    return PeerCredentials(*CREDENTIALS.unpack(raw))
