"""Records of messages as they lie in a segment or a file of their own: header of 32 octets, note, content. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import msgspec

HEADER = struct.Struct("<4sIQQII")
"""Magic, CRC of the content, its length, message id, length of the note, its CRC."""
MAGIC = b"SSB1"


class BodyRef(msgspec.Struct, frozen=True):
    """Where a message's bytes are: `day/file`, at `offset` of its header, `length` octets of content."""

    day: str
    file: str
    offset: int
    length: int


class Record(msgspec.Struct, frozen=True):
    """What is written for a message: `note` is the ledger's own (empty: nothing to be read again after a crash)."""

    message_id: int
    note: bytes
    content: bytes


class Written(msgspec.Struct, frozen=True):
    """Where a record lies in a segment, and where the next one begins."""

    day: str
    file: str
    offset: int
    length: int
    end: int

    @property
    def ref(self) -> BodyRef:
        return BodyRef(self.day, self.file, self.offset, self.length)


class Place(msgspec.Struct, frozen=True):
    """Where records that were packed together begin."""

    day: str
    file: str
    offset: int


class Packed(msgspec.Struct, frozen=True):
    """Records as one run of octets."""

    data: bytes
    lengths: list[tuple[int, int]]
    """For each record the length of its content, and of all of it."""

    def at(self, place: Place) -> list[Written]:
        """Where each record is, when the first is there."""
        written = []
        offset = place.offset
        for length, whole in self.lengths:
            written.append(Written(place.day, place.file, offset, length, offset + whole))
            offset += whole
        return written


def pack(records: Sequence[Record]) -> Packed:
    """The records behind each other."""
    pieces: list[bytes] = []
    lengths = []
    for record in records:
        note, content = record.note, record.content
        pieces.append(
            HEADER.pack(MAGIC, zlib.crc32(content), len(content), record.message_id, len(note), zlib.crc32(note))
        )
        pieces.append(note)
        pieces.append(content)
        lengths.append((len(content), HEADER.size + len(note) + len(content)))
    return Packed(b"".join(pieces), lengths)
