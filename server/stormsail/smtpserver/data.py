"""The text of one message as it arrives after DATA: end found, dots removed, line ends checked (RFC 5321 §4.5.2).

In: chunks as the socket gives them. Out: a `ReceivedBody` or the error to answer with. The end is only CRLF.CRLF
(§4.1.1.4): a dot between other line ends is text. A bare LF is made CRLF and marked, a bare CR or a NUL refuses the
message (§2.3.8); reading goes on to the end all the same. Small messages stay in memory, large ones are spooled.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from stormsail.domain.errors import BadContent, MessageTooLarge, StorageFull, StormsailError
from stormsail.intake import HeaderCheck, HeaderFacts, ReceivedBody
from stormsail.ledger import MessageFlag
from stormsail.store import SpooledBody

from .limits import DataMemory

END = b"\r\n.\r\n"
DOT = b"\r\n."
PLAIN = bytes(octet for octet in range(256) if octet not in b"\r\n\0")
"""What needs no look in a text: without it, a good one is nothing but CR, LF, CR, LF."""
LONE_LF = re.compile(rb"(?<!\r)\n")
LONE_CR = re.compile(rb"\r(?!\n)")
MEMORY_BODY = 262_144
"""Octets above which a message goes on to disk while it comes in."""
HEADER_LIMIT = 8_388_608
KEEP_BACK = 65_536


class DataCollector:
    """Takes the chunks of one message. `feed` says what was behind the end, or None while the end has not come."""

    def __init__(
        self,
        memory: DataMemory,
        spool: Callable[[], SpooledBody],
        check_header: HeaderCheck,
        size_limit: int,
        line_limit: int,
    ) -> None:
        self._memory = memory
        self._check_header = check_header
        self._facts: HeaderFacts | None = None
        self._spool = spool
        self._size_limit = size_limit
        self._line_limit = line_limit
        self._rest = b"\r\n"
        self._first = True
        self._line = 0
        self._pieces: list[bytes] = []
        self._in_memory = 0
        self._looked = 0
        self._looked_at = b""
        self._spooled: SpooledBody | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._flags = MessageFlag.NONE
        self.error: StormsailError | None = None

    def feed(self, chunk: bytes) -> bytes | None:
        """Takes a chunk; gives the octets behind CRLF.CRLF once that has come."""
        buffer = self._rest + chunk
        dot = buffer.find(DOT)
        end = dot if dot < 0 or buffer.startswith(END, dot) else buffer.find(END, dot)
        dotted = dot != end
        if end >= 0:
            self._check_lines(buffer[:end])
            self._take(buffer[: end + 2], dotted)
            self._rest = b""
            return buffer[end + len(END) :]
        cut = buffer.rfind(b"\r\n")
        if cut > 0:
            self._check_lines(buffer[:cut])
            self._take(buffer[:cut], dotted)
            self._rest = buffer[cut:]
        elif len(buffer) > KEEP_BACK:
            self._line += len(buffer) - 2
            if self._line > self._line_limit:
                self._refuse(BadContent("A line of the message is too long"))
            self._take(buffer[:-2], dotted)
            self._rest = buffer[-2:]
        else:
            self._rest = buffer
        return None

    def _check_lines(self, text: bytes) -> None:
        """Lines that end with this text; only a long text can make one of them too long."""
        if self._line + len(text) > self._line_limit:
            first, *others = text.split(b"\r\n")
            if max(self._line + len(first), *map(len, others), 0) > self._line_limit:
                self._refuse(BadContent("A line of the message is too long"))
        self._line = 0

    def finish(self) -> ReceivedBody:
        """The message, after its end has come. Raises the error that it earned."""
        if self.error is None and self._spooled is not None:
            self._flush()
        if self.error is not None:
            self.discard()
            raise self.error
        if self._spooled is not None and self._facts is not None:
            return ReceivedBody(
                None, self._spooled, self._spooled.length, self._hash.digest(), self._flags, self._facts
            )
        content, facts = self._check_header(b"".join(self._pieces))
        return ReceivedBody(content, None, len(content), self._hash.digest(), self._flags, facts)

    def release(self) -> None:
        """Gives the memory back: the message is kept or given up."""
        self._memory.give_back(self._in_memory)
        self._in_memory = 0

    def discard(self) -> None:
        """Forgets everything received: the message is refused or its sender gone."""
        self._pieces = []
        self._facts, self._looked_at = None, b""
        self.release()
        if self._spooled is not None:
            self._spooled.discard()
            self._spooled = None

    def _take(self, raw: bytes, dotted: bool) -> None:
        """Text without its end; where it is `dotted`, lines in it may still have a dot too many."""
        piece = raw.replace(DOT, b"\r\n") if dotted else raw
        if self._first:
            piece = piece[2:]
            self._first = False
        if self.error is not None or not piece:
            return
        self._hash.update(piece)
        piece = self._checked(piece)
        self._size += len(piece)
        if self._size > self._size_limit:
            self._refuse(MessageTooLarge(f"The message is larger than {self._size_limit} octets"))
        elif not self._memory.take(len(piece)):
            self._refuse(StorageFull("Too much mail is coming in at once, please try again later"))
        else:
            self._in_memory += len(piece)
            self._pieces.append(piece)
            if self._in_memory > MEMORY_BODY:
                self._to_disk()

    def _checked(self, piece: bytes) -> bytes:
        """The piece with CRLF line ends only, or an error noted."""
        if not piece.isascii():
            self._flags |= MessageFlag.EIGHT_BIT
        marks = piece.translate(None, PLAIN)
        if marks == b"\r\n" * (len(marks) // 2) and LONE_CR.search(piece) is None:
            return piece
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\r") != line_ends:
            self._refuse(BadContent("The message contains a bare carriage return"))
        if b"\0" in piece:
            self._refuse(BadContent("The message contains NUL"))
        if piece.count(b"\n") != line_ends:
            self._flags |= MessageFlag.BARE_LF
            piece = LONE_LF.sub(b"\r\n", piece)
        return piece

    def _to_disk(self) -> None:
        """Moves what is in memory to the spool file, once the header is complete and checked."""
        if self._facts is None:
            if not self._header_is_whole():
                if self._in_memory > HEADER_LIMIT:
                    self._refuse(BadContent("The header of the message is too long"))
                return
            try:
                start, self._facts = self._check_header(b"".join(self._pieces))
            except BadContent as error:
                self._refuse(error)
                return
            self._pieces = [start]
        self._flush()

    def _header_is_whole(self) -> bool:
        """Looks only at what has come since the last look: a long header comes in thousands of pieces."""
        fresh = b"".join([self._looked_at, *self._pieces[self._looked :]])
        whole = b"\r\n\r\n" in fresh or (self._looked == 0 and fresh.startswith(b"\r\n"))
        self._looked, self._looked_at = len(self._pieces), fresh[-3:]
        return whole

    def _flush(self) -> None:
        try:
            if self._spooled is None:
                self._spooled = self._spool()
            for piece in self._pieces:
                self._spooled.write(piece)
        except OSError as error:
            self._refuse(StorageFull(f"The message cannot be kept: {error.strerror}"))
            return
        self._pieces = []
        self.release()

    def _refuse(self, error: StormsailError) -> None:
        if self.error is None:
            self.error = error
            self.discard()
