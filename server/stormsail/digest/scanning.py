"""What can be said of a message without parsing it: for messages that break the parser or kill the child.

In: octets. Out: a Digest with the fields of the header's beginning and the raw text behind it. Looks at a limited
number of octets only and uses nothing recursive; never raises.
"""

from __future__ import annotations

from .characters import clean_text, decode
from .fields import read_addresses, read_date, read_ids, read_line, read_message_id
from .protocol import Digest

HEADER_LIMIT = 256 * 1024
TEXT_OCTETS = 64 * 1024
LINES_LIMIT = 20_000
WANTED = frozenset(
    {"subject", "from", "reply-to", "to", "cc", "date", "message-id", "references", "in-reply-to", "auto-submitted"}
)
VALUE_LIMIT = 16_384
PREVIEW_LIMIT = 200


def scan(content: bytes | memoryview, problem: str) -> Digest:
    """The digest of a message that nobody could parse."""
    beginning = bytes(content[: HEADER_LIMIT + TEXT_OCTETS])
    length = header_length(beginning)
    fields = _fields(beginning[:length])
    text = clean_text(decode(beginning[length : length + TEXT_OCTETS], None), TEXT_OCTETS)
    return Digest(
        problem=problem,
        subject=read_line(fields.get("subject", "")),
        authors=read_addresses(_one(fields, "from")),
        reply_to=read_addresses(_one(fields, "reply-to")),
        to=read_addresses(_one(fields, "to")),
        cc=read_addresses(_one(fields, "cc")),
        date=read_date(fields.get("date", "")),
        message_id=read_message_id(fields.get("message-id", "")),
        references=read_ids(fields.get("references", "")),
        in_reply_to=read_ids(fields.get("in-reply-to", "")),
        auto_submitted=read_line(fields.get("auto-submitted", ""), 100).lower(),
        preview=preview_of(text),
        text=text,
        headers=tuple((name, read_line(value)) for name, value in fields.items()),
        header_length=length,
    )


def header_length(content: bytes) -> int:
    """Octets up to and with the empty line; everything where there is none."""
    if content.startswith(b"\r\n"):
        return 2
    for gap in (b"\r\n\r\n", b"\n\n"):
        end = content.find(gap)
        if end >= 0:
            return end + len(gap)
    return len(content)


def preview_of(text: str) -> str:
    """The first words of a text, quoted lines left out where there are others."""
    beginning = text[:8_000]
    own = " ".join(" ".join(line for line in beginning.split("\n") if not line.lstrip().startswith(">")).split())
    return (own or " ".join(beginning.split()))[:PREVIEW_LIMIT]


def _fields(block: bytes) -> dict[str, str]:
    """The first field of each wanted name, unfolded, octets above ASCII as surrogates."""
    fields: dict[str, str] = {}
    name = ""
    for line in block.decode("ascii", "surrogateescape").split("\n")[:LINES_LIMIT]:
        if line[:1] in (" ", "\t"):
            if name and len(fields[name]) < VALUE_LIMIT:
                fields[name] += " " + line.strip()
            continue
        key, colon, value = line.partition(":")
        key = key.strip().lower()
        name = key if colon and key in WANTED and key not in fields else ""
        if name:
            fields[name] = value[:VALUE_LIMIT].strip()
    return fields


def _one(fields: dict[str, str], name: str) -> list[str]:
    return [fields[name]] if name in fields else []
