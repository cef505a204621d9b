"""FETCH of the sandbox's IMAP (RFC 3501 §6.4.5): which items were asked for, and their values.

In: the words after the sequence set, a stored message. Out: the data of one untagged FETCH response.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from .imap_structure import body_structure, envelope, part_bytes, split_message
from .imap_syntax import ImapSyntaxError, internal_date, listed, literal
from .mailboxes import Stored

MACROS = {
    "ALL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"],
    "FAST": ["FLAGS", "INTERNALDATE", "RFC822.SIZE"],
    "FULL": ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"],
}
SIMPLE = frozenset({"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "UID"})
OLD_NAMES = {"RFC822": "", "RFC822.HEADER": "HEADER", "RFC822.TEXT": "TEXT"}
UNREADABLE = (LookupError, ValueError, AttributeError, TypeError, RecursionError)
"""What the email package is known to raise on hostile messages: they are shown without structure."""
NO_ENVELOPE = listed([b"NIL"] * 10)
BODY_ITEM = re.compile(r"BODY(\.PEEK)?\[([^\]]*)\](?:<(\d+)(?:\.(\d+))?>)?", re.IGNORECASE)
FIELDS = re.compile(r"HEADER\.FIELDS(\.NOT)? \(([^)]*)\)", re.IGNORECASE)
PART = re.compile(r"(\d+(?:\.\d+)*)(?:\.(MIME|HEADER|TEXT))?", re.IGNORECASE)


class Item(msgspec.Struct, frozen=True):
    """One thing asked for; `section` is None for those that are no part of the body."""

    label: str
    section: str | None = None
    first: int | None = None
    length: int | None = None
    sets_seen: bool = False


def items_of(words: Iterable[object]) -> list[Item]:
    """The items in a FETCH command's words."""
    names: list[str] = []
    for word in words:
        names += [str(inner) for inner in word] if isinstance(word, list) else [str(word)]
    return [_item(name) for written in names for name in MACROS.get(written.upper(), [written])]


def _item(name: str) -> Item:
    upper = name.upper()
    if upper in SIMPLE:
        return Item(upper)
    if upper in OLD_NAMES:
        return Item(upper, OLD_NAMES[upper], sets_seen=upper != "RFC822.HEADER")
    found = BODY_ITEM.fullmatch(name)
    if found is None:
        raise ImapSyntaxError(f"there is no item {name}")
    peek, section, first, length = found.groups()
    start = f"<{first}>" if first is not None else ""
    return Item(
        f"BODY[{section}]{start}",
        section,
        int(first) if first is not None else None,
        int(length) if length is not None else None,
        peek is None,
    )


def fetched(items: list[Item], stored: Stored) -> bytes:
    """What the message answers."""
    needs_content = any(
        item.section is not None or item.label in ("ENVELOPE", "BODY", "BODYSTRUCTURE") for item in items
    )
    content = stored.read() if needs_content else b""
    return listed(piece for item in items for piece in (item.label.encode(), _value(item, stored, content)))


def _value(item: Item, stored: Stored, content: bytes) -> bytes:
    if item.section is not None:
        return literal(_cut(_section(item.section, content), item))
    match item.label:
        case "FLAGS":
            return listed(flag.encode() for flag in sorted(stored.flags))
        case "UID":
            return b"%d" % stored.uid
        case "INTERNALDATE":
            return internal_date(stored.at)
        case "RFC822.SIZE":
            return b"%d" % stored.size
    try:
        return envelope(content) if item.label == "ENVELOPE" else body_structure(content, extended=item.label != "BODY")
    except UNREADABLE:
        return NO_ENVELOPE if item.label == "ENVELOPE" else body_structure(b"", extended=False)


def _cut(data: bytes, item: Item) -> bytes:
    if item.first is None:
        return data
    return data[item.first :] if item.length is None else data[item.first : item.first + item.length]


def _section(section: str, content: bytes) -> bytes:
    if not section:
        return content
    upper = section.upper()
    if upper in ("HEADER", "TEXT"):
        return split_message(content)[0 if upper == "HEADER" else 1]
    fields = FIELDS.fullmatch(section)
    if fields is not None:
        names = {name.strip('"').lower() for name in fields.group(2).split()}
        return _some_fields(split_message(content)[0], names, keep=fields.group(1) is None)
    part = PART.fullmatch(section)
    if part is None:
        raise ImapSyntaxError(f"there is no section {section}")
    return part_bytes(content, [int(number) for number in part.group(1).split(".")], (part.group(2) or "").upper())


def _some_fields(header: bytes, names: set[str], *, keep: bool) -> bytes:
    """The header's fields of these names, or those of no such name, with the empty line."""
    kept: list[bytes] = []
    taking = False
    for line in header.splitlines(keepends=True):
        if line[:1] not in (b" ", b"\t"):
            taking = (line.partition(b":")[0].strip().decode("ascii", "replace").lower() in names) is keep
        if taking and line.strip():
            kept.append(line)
    return b"".join(kept) + b"\r\n"
