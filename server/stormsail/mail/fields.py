"""The header of a message as it came in, looked at without the `email` package (DESIGN §3.11).

In: bytes with CRLF line ends. Out: where fields stand and what the few that matter say. Linear in the size of the
header, never raises. RFC 5322 §2.2, §3.6; a field name may be followed by blanks before its colon (§4.5.2), since
that is what other programs would take for the field too.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from stormsail.domain.address import Address, parse_address
from stormsail.domain.errors import BadAddress, BadContent

BLANKS = b" \t"
COMMENT = re.compile(r"\([^()]*\)")
ANGLE = re.compile(r"<([^<>]*)>")
QUOTED_STRING = re.compile(r'"(?:[^"\\]|\\.)*"?')
"""One that is never closed reaches to the end: looking for its end again and again would take for ever."""
FIELD_LIMIT = 65_536
LINES_LIMIT = 200_000
WANTED_LIMIT = 1_000
CUT = b"\0"
"""Stands at the end of a value that was cut, so that it equals nothing that anybody would believe."""


class Field(msgspec.Struct, frozen=True):
    """One header field: `name` in lower case, where it starts, and its value unfolded."""

    name: bytes
    start: int
    value: bytes


class Header(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a header. `length` is up to and with the empty line."""

    length: int
    received: int
    fields: tuple[Field, ...]
    """The fields with a name asked for, in order."""

    def values(self, name: bytes) -> list[bytes]:
        return [field.value for field in self.fields if field.name == name]


def header_length(content: bytes | bytearray) -> int | None:
    """Octets of the header with its empty line; None where the empty line has not come (yet)."""
    if content[:2] == b"\r\n":
        return 2
    end = content.find(b"\r\n\r\n")
    return end + 4 if end >= 0 else None


def scan_header(content: bytes, wanted: frozenset[bytes]) -> Header:
    """The header of `content`; `wanted` are lower-case names, a final `*` stands for any ending.

    Raises BadContent for a header beyond all measure, which would cost more than it is worth to look at.
    """
    length = header_length(content)
    block = content if length is None else content[:length]
    if block.count(b"\n") > LINES_LIMIT:
        raise BadContent(f"The header has more than {LINES_LIMIT} lines")
    fields: list[Field] = []
    received = 0
    for found in _field_names(wanted).finditer(block):
        name = found.group(1).rstrip(BLANKS).lower()
        if name == b"received":
            received += 1
        if name != b"received" or name in wanted:
            if len(fields) >= WANTED_LIMIT:
                raise BadContent(f"The header has one field more than {WANTED_LIMIT} times")
            fields.append(Field(name, found.start(), _unfold(block, found.end())))
    return Header(len(block), received, tuple(fields))


@lru_cache(maxsize=16)
def _field_names(wanted: frozenset[bytes]) -> re.Pattern[bytes]:
    """The beginning of a line that is worth looking at."""
    names = sorted(wanted | {b"received"})
    words = [re.escape(name[:-1]) + rb"[^:\r\n]*" if name.endswith(b"*") else re.escape(name) for name in names]
    return re.compile(rb"^(" + b"|".join(words) + rb")[ \t]*:", re.IGNORECASE | re.MULTILINE)


def _unfold(block: bytes, start: int) -> bytes:
    """The value that starts there, continuation lines joined (RFC 5322 §2.2.3)."""
    parts = []
    position, size = start, 0
    while True:
        end = block.find(b"\r\n", position)
        end = end if end >= 0 else len(block)
        parts.append(block[position:end])
        size += end - position
        if block[end + 2 : end + 3] not in (b" ", b"\t"):
            break
        if size > FIELD_LIMIT:
            parts.append(CUT)
            break
        position = end + 2
    return b"".join(parts).strip()


def rename_fields(content: bytes, fields: list[Field]) -> bytes:
    """The same bytes with `X-Original-` before the name of each of the fields."""
    pieces: list[bytes] = []
    done = 0
    for field in sorted(fields, key=lambda field: field.start):
        pieces += [content[done : field.start], b"X-Original-"]
        done = field.start
    pieces.append(content[done:])
    return b"".join(pieces)


def addresses_in(value: bytes) -> list[Address]:
    """The addresses of a From, To or Cc field; what is no address is left out. Group names are ignored."""
    text = value[:FIELD_LIMIT].decode("utf-8", "replace")
    found: list[Address] = []
    for item in _split_list(text):
        angle = ANGLE.search(QUOTED_STRING.sub("", item))
        candidate = angle.group(1) if angle else COMMENT.sub("", item).strip()
        try:
            found.append(parse_address(candidate.strip()))
        except BadAddress:
            continue
    return found


def _split_list(text: str) -> list[str]:
    """Splits an address list at commas (and group delimiters) outside quotes, comments and angle brackets."""
    items: list[str] = []
    current: list[str] = []
    quoted = escaped = False
    depth = 0
    for letter in text:
        if escaped:
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == '"' and depth == 0:
            quoted = not quoted
        elif not quoted and letter in "(<":
            depth += 1
        elif not quoted and letter in ")>":
            depth = max(0, depth - 1)
        elif not quoted and depth == 0 and letter in ",;:":
            items.append("".join(current))
            current = []
            continue
        current.append(letter)
    items.append("".join(current))
    return [item for item in items if item.strip()]


def names_host(value: bytes, hostname: str) -> bool:
    """Whether an Authentication-Results field may be taken for this host's own (RFC 8601 §2.2), however it is written.

    Looks for the name anywhere before the first result, since comments, quotes and quoted pairs may surround it.
    """
    text = value[:FIELD_LIMIT].decode("utf-8", "replace").replace("\\", "").lower().partition("=")[0]
    return re.search(rf"(?<![\w.-]){re.escape(hostname.lower())}(?![\w-]|\.\w)", text) is not None
