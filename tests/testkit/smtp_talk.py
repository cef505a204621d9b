"""A raw SMTP conversation over a socket: says exactly the octets it is told to say (RFC 5321 §2.4, §4.1, §4.2).

In: a loopback port, perhaps another address of 127.0.0.0/8 to come from. Out: replies as text, one line of it per line
of the reply. Everything waits at most `timeout_s`. Raises TimeoutError where no reply comes, EOFError where the peer
has gone.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from types import TracebackType

TIMEOUT_S = 15.0


class SmtpTalk:
    """One connection; reads no banner by itself. One with a narrow window soon keeps the peer's replies waiting there."""

    def __init__(
        self, port: int, *, source: str = "127.0.0.1", timeout_s: float = TIMEOUT_S, narrow: bool = False
    ) -> None:
        self._socket: socket.socket = socket.socket(socket.AF_INET)
        if narrow:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.bind((source, 0))
            self._socket.connect(("127.0.0.1", port))
        except OSError:
            self._socket.close()
            raise
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def __enter__(self) -> SmtpTalk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    # ── octets ──

    def send(self, data: bytes) -> None:
        """Exactly these octets, in as few segments as the kernel makes of them."""
        self._socket.sendall(data)

    def drip(self, pieces: list[bytes], pause_s: float) -> float:
        """A slow sender: the pieces with a pause before each; gives the seconds it took."""
        began = time.monotonic()
        for piece in pieces:
            time.sleep(pause_s)
            self._socket.sendall(piece)
        return time.monotonic() - began

    def reset(self) -> None:
        """The connection is gone without a goodbye (TCP RST)."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()

    def no_more(self) -> None:
        """We have nothing more to say, but listen on."""
        self._socket.shutdown(socket.SHUT_WR)

    # ── replies ──

    def reply(self) -> str:
        """The next reply, its lines joined by newlines."""
        lines: list[str] = []
        while True:
            line = self._line().decode("utf-8", "surrogateescape")
            lines.append(line)
            if line[3:4] != "-":
                return "\n".join(lines)

    def ask(self, command: str | bytes) -> str:
        """A command line, CRLF added, and its reply."""
        self.send((command.encode() if isinstance(command, str) else command) + b"\r\n")
        return self.reply()

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while chunk := self._receive():
            self._buffer += chunk
        rest, self._buffer = self._buffer, b""
        return rest

    @property
    def ended(self) -> bool:
        """Whether the peer ends the connection without a further word."""
        return self.rest() == b""

    def quiet_for(self, seconds: float) -> bool:
        """Whether the peer says nothing for a while."""
        if self._buffer:
            return False
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(1, socket.MSG_PEEK) == b"never"
        except TimeoutError:
            return True
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            chunk = self._receive()
            if not chunk:
                raise EOFError(f"the peer has gone; it had said {self._buffer!r}")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(65_536)
        except ConnectionResetError:
            return b""

    # ── usual steps ──

    def hello(self, name: str = "client.test") -> SmtpTalk:
        """The banner, EHLO and its reply."""
        banner = self.reply()
        assert banner.startswith("220 "), banner
        answer = self.ask(f"EHLO {name}")
        assert answer.startswith("250"), answer
        return self

    def envelope(self, *recipients: str, reverse_path: str = "x@example.org") -> SmtpTalk:
        """MAIL and RCPT, all taken."""
        answers = [self.ask(f"MAIL FROM:<{reverse_path}>"), *(self.ask(f"RCPT TO:<{one}>") for one in recipients)]
        assert all(one.startswith("250") for one in answers), answers
        return self

    def data(self, *recipients: str, reverse_path: str = "x@example.org") -> SmtpTalk:
        """Everything up to 354."""
        self.envelope(*recipients, reverse_path=reverse_path)
        answer = self.ask("DATA")
        assert answer.startswith("354"), answer
        return self

    def start_tls(self, context: ssl.SSLContext, name: str) -> SmtpTalk:
        """The handshake after 220."""
        self._socket = context.wrap_socket(self._socket, server_hostname=name)
        return self
