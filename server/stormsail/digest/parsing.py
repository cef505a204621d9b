"""The stdlib parser with limits: a message's parts, their fields and octets.

In: a message's octets. Out: `Part`s. Raises TooComplex where a limit is passed, and, being what it is, anything in
HOSTILE on messages made to break it; the caller catches both. A message inside the message stays one leaf, so its
octets are exact and nesting by forwarding costs nothing. RFC 5322, RFC 2045, RFC 2046.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from email.errors import MessageDefect, MessageError
from email.feedparser import BytesFeedParser
from email.message import Message
from email.policy import Compat32
from typing import TYPE_CHECKING, Any

from .characters import decode, from_surrogates
from .fields import VALUE_LIMIT, decode_base64, decode_words

FIELDS_LIMIT = 5_000
"""Header fields in the whole message, parts included."""
PARTS_LIMIT = 1_000
CONTENT_FIELD_LIMIT = 2_048
"""Characters of a Content-* field: their parsing is quadratic."""
CHUNK = 1 << 16


if TYPE_CHECKING:
    _Message = Message[str, str]
else:
    _Message = Message


class TooComplex(ValueError):
    """The message has more of something than any honest one."""


HOSTILE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
    MessageError,
    StopIteration,
)
"""What `email` and the codecs raise on hostile bytes. MemoryError is the caller's: a child does not outlive it."""


class _Tally:
    """What one message has used up of the limits."""

    def __init__(self) -> None:
        self.fields = 0
        self.parts = 0

    def field(self) -> None:
        self.fields += 1
        if self.fields > FIELDS_LIMIT:
            raise TooComplex(f"The message has more than {FIELDS_LIMIT} header fields")

    def part(self) -> None:
        self.parts += 1
        if self.parts > PARTS_LIMIT:
            raise TooComplex(f"The message has more than {PARTS_LIMIT} parts")


class _LimitedPolicy(Compat32):
    """compat32 with counted parts and fields, cut values, and no list of defects."""

    tally: _Tally | None = None

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        if self.tally is not None:
            self.tally.field()
        name, _, first = sourcelines[0].partition(":")
        limit = CONTENT_FIELD_LIMIT if name[:8].lower() == "content-" else VALUE_LIMIT
        value = first.lstrip(" \t")
        for line in sourcelines[1:]:
            if len(value) > limit:
                break
            value += line
        return name, value[:limit].rstrip("\r\n")

    def header_fetch_parse(self, name: str, value: str) -> str:
        """As it stands; raw octets are read by whoever wants text."""
        return value

    def handle_defect(self, obj: Any, defect: MessageDefect) -> None:
        """Defects are not kept: a message may have one a line."""


class Part(_Message):
    """A message or a part of one. To the parser a message inside is a leaf like any other."""

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        if policy.tally is not None:
            policy.tally.part()

    def get_content_type(self) -> str:
        declared = super().get_content_type()
        return "application/octet-stream" if declared.startswith("message/") else declared

    @property
    def declared_type(self) -> str:
        """The content type in lower case, well-formed; text/plain where there is none (RFC 2045 §5.2)."""
        declared = super().get_content_type()
        return declared if declared.isascii() and declared.isprintable() and " " not in declared else "text/plain"

    def value(self, name: str) -> str:
        """The first field of that name; empty where there is none."""
        wanted = name.lower()
        return next((value for key, value in self.fields() if key.lower() == wanted), "")

    def all_values(self, name: str) -> list[str]:
        wanted = name.lower()
        return [value for key, value in self.fields() if key.lower() == wanted]

    def fields(self) -> Iterator[tuple[str, str]]:
        """Every field, undecoded, in order."""
        yield from self.raw_items()

    @property
    def children(self) -> list[Part]:
        """The parts of a multipart; none for a leaf, and for a multipart whose boundary never came."""
        payload: Any = self.get_payload()
        return payload if isinstance(payload, list) else []

    @property
    def source(self) -> str:
        """A leaf's payload as it stands, octets above ASCII as surrogates."""
        payload: Any = self.__dict__.get("_payload")
        return payload if isinstance(payload, str) else ""

    @property
    def encoding(self) -> str:
        """The transfer encoding (RFC 2045 §6.1) in lower case; what is no encoding counts as none."""
        return from_surrogates(self.value("content-transfer-encoding")).partition(";")[0].strip().strip('"').lower()

    @property
    def charset(self) -> str:
        try:
            found = self.get_content_charset()
        except HOSTILE:
            return ""
        return found if found is not None and found.isascii() else ""

    @property
    def disposition(self) -> str:
        """`attachment`, `inline` or empty."""
        word = from_surrogates(self.value("content-disposition")).partition(";")[0].strip().lower()
        return word if word in ("attachment", "inline") else ""

    @property
    def file_name(self) -> str:
        """The name given for saving, decoded by RFC 2231 and by RFC 2047, which is wrong there but common."""
        try:
            found = self.get_filename("")
        except HOSTILE:
            return ""
        return decode_words(found) if isinstance(found, str) else ""

    def octets(self) -> bytes:
        """The leaf's octets, decoded as far as they can be."""
        raw = self.source.encode("utf-8", "surrogateescape")
        match self.encoding:
            case "base64":
                return decode_base64(raw)
            case "quoted-printable":
                return binascii.a2b_qp(raw)
            case "x-uuencode" | "uuencode" | "x-uue" | "uue":
                return _decode_uu(raw)
            case _:
                return raw

    def text(self, limit: int) -> str:
        """The leaf's octets as text, at most about `limit` characters."""
        return decode(self.octets()[: limit * 4], self.charset)[:limit]


def parse(content: bytes | memoryview) -> Part:
    """The message in `content`. Raises TooComplex and anything in HOSTILE."""
    limits: dict[str, Any] = {"tally": _Tally(), "message_factory": Part}
    policy: Any = _LimitedPolicy(**limits)
    parser = BytesFeedParser(policy=policy)
    view = memoryview(content)
    for start in range(0, len(view), CHUNK):
        parser.feed(bytes(view[start : start + CHUNK]))
    message: Any = parser.close()
    if not isinstance(message, Part):
        raise TooComplex("The message has no form")
    return message


def _decode_uu(raw: bytes) -> bytes:
    pieces: list[bytes] = []
    inside = False
    for line in raw.splitlines():
        if not inside:
            inside = line.startswith(b"begin ")
        elif line.strip() in (b"end", b"`", b""):
            break
        else:
            pieces.append(_uu_line(line))
    return b"".join(pieces)


def _uu_line(line: bytes) -> bytes:
    try:
        return binascii.a2b_uu(line)
    except binascii.Error:
        count = (((line[0] - 32) & 63) * 4 + 5) // 3
        try:
            return binascii.a2b_uu(line[:count])
        except binascii.Error:
            return b""
