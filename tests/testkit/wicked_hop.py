"""A next hop that does wicked things on a thread for each connection, until it is told to be honest.

In: a deed, which is a function that has a `Peer`. Out: the texts that reached their final dot, each with what was
answered to it, and how many clients had to do with it. `dialogue` is an honest session in which some answers are replaced.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from stormsail.domain.replies import Stage

PATIENCE_S = 20.0
KEYWORDS = b"250-wicked.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


class Gone(Exception):
    """The other side has ended the connection, or we have."""


@dataclass
class Text:
    """A message up to its dot, dots undone, and the answer that it was given, as far as one was."""

    content: bytes
    answer: bytes = b""

    @property
    def marked(self) -> bool:
        """Whether its sender says that it may have come before."""
        return b"\r\nStormsail-Repeat: " in b"\r\n" + self.content.partition(b"Received: ")[0]

    @property
    def refused(self) -> bool:
        """Whether the answer says clearly that we did not take it."""
        return self.answer[:1] in (b"4", b"5") and self.answer[1:3].isdigit() and self.answer.endswith(b"\r\n")


@dataclass
class Peer:
    """The client of one connection."""

    connection: socket.socket
    texts: list[Text]
    wicked: Callable[[], bool] = lambda: True
    """Whether the hop is so still; it may turn honest in the middle of a connection."""
    buffer: bytearray = field(default_factory=bytearray)

    def say(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise Gone from error

    def drip(self, data: bytes, pause_s: float) -> None:
        """Octet by octet with a pause before each."""
        for at in range(len(data)):
            time.sleep(pause_s)
            self.say(data[at : at + 1])

    def pour(self, data: bytes) -> None:
        """The same again and again, until the client goes."""
        while True:
            self.say(data)

    def hear(self) -> bytes:
        """The next line with its end."""
        while (end := self.buffer.find(b"\n")) < 0:
            self._receive()
        line = bytes(self.buffer[: end + 1])
        del self.buffer[: end + 1]
        return line

    def hear_some(self, octets: int) -> None:
        """Waits until so many octets have come in all; they are left where they are."""
        while len(self.buffer) < octets:
            self._receive()

    def text(self) -> Text:
        """Everything up to the final dot."""
        lines: list[bytes] = []
        while (line := self.hear()) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
        text = Text(b"".join(lines))
        self.texts.append(text)
        return text

    def until_gone(self) -> None:
        """Listens, says nothing."""
        while True:
            self.buffer.clear()
            self._receive()

    def deaf_until_gone(self) -> None:
        """Does not even listen; notices only that the connection is reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            time.sleep(0.05)
        raise Gone

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise Gone

    def start_tls(self, context: ssl.SSLContext) -> socket.socket:
        """The handshake after 220; gives the bare connection under it."""
        bare = self.connection.dup()
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except OSError as error:
            raise Gone from error
        self.connection.settimeout(PATIENCE_S)
        return bare

    def _receive(self) -> None:
        try:
            data = self.connection.recv(65_536)
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data


Deed = Callable[[Peer], None]
Instead = Mapping[Stage, bytes | Deed]


def dialogue(peer: Peer, instead: Instead | None = None) -> None:
    """An honest session; at the stages in `instead` something else is said or done, as long as the hop is wicked."""
    given = instead or {}
    _say(peer, given.get(Stage.GREETING, b"220 wicked.test\r\n"))
    while True:
        verb = peer.hear().split()[0].upper()
        given = given if peer.wicked() else {}
        if verb in (b"EHLO", b"HELO"):
            _say(peer, given.get(Stage.EHLO, KEYWORDS))
        elif verb in (b"MAIL", b"RCPT"):
            _say(peer, given.get(Stage.MAIL if verb == b"MAIL" else Stage.RCPT, b"250 2.0.0 ok\r\n"))
        elif verb == b"DATA":
            answer = given.get(Stage.DATA, b"354 go ahead\r\n")
            _say(peer, answer)
            if callable(answer) or answer.startswith(b"354"):
                text = peer.text()
                last = given.get(Stage.DOT, b"250 2.0.0 ok\r\n")
                text.answer = b"" if callable(last) else last
                _say(peer, last)
        elif verb == b"STARTTLS":
            _say(peer, given.get(Stage.STARTTLS, b"502 5.5.1 what?\r\n"))
        elif verb == b"QUIT":
            peer.say(b"221 2.0.0 bye\r\n")
            raise Gone
        else:
            peer.say(b"250 2.0.0 ok\r\n")


def _say(peer: Peer, answer: bytes | Deed) -> None:
    if callable(answer):
        answer(peer)
    else:
        peer.say(answer)


class WickedHop:
    """Listens on a port of its own; `deed` may be changed at any time and counts for new connections."""

    def __init__(self) -> None:
        self.deed: Deed | None = None
        self.texts: list[Text] = []
        self.victims = 0
        """So many connections have come in a wicked time."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        self.port = int(self._listener.getsockname()[1])
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def taken(self) -> list[Text]:
        """What was answered 250 after its dot."""
        return [text for text in self.texts if text.answer.startswith(b"250")]

    def drop_connections(self) -> None:
        """Ends every connection that stands."""
        for one in list(self._open):
            _shut(one)

    def close(self) -> None:
        _shut(self._listener)
        self._listener.close()
        self.drop_connections()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_S)
            self._open.add(connection)
            self.victims += self.deed is not None
            threading.Thread(target=self._attend, args=(connection, self.deed), daemon=True).start()

    def _attend(self, connection: socket.socket, deed: Deed | None) -> None:
        peer = Peer(connection, self.texts, lambda: self.deed is not None)
        try:
            (deed or dialogue)(peer)
        except Gone:
            pass
        finally:
            self._open.discard(connection)
            connection.close()
            peer.connection.close()


def _shut(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


@contextmanager
def wicked_hops(names: list[str]) -> Iterator[dict[str, WickedHop]]:
    """One for each name, all honest as yet."""
    hops = {name: WickedHop() for name in names}
    try:
        yield hops
    finally:
        for hop in hops.values():
            hop.close()
