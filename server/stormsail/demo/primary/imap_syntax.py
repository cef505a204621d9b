"""IMAP's grammar, as far as the sandbox primary speaks it (RFC 3501 §9). Pure.

In: one command with its literals inline. Out: nested lists of words; and back: strings, literals and lists on the wire.
Raises ImapSyntaxError for what is no command.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r?\n$")
INLINE_LITERAL = re.compile(rb"\{(\d+)\+?\}\r?\n")
ATOM = re.compile(rb'[^\s()\["{]+')
SECTION = re.compile(rb"\[[^\]]*\](?:<[\d.]+>)?")
QUOTED = re.compile(rb'"((?:[^"\\\r\n]|\\.)*)"')
SAFE = re.compile(rb"[\x20\x21\x23-\x5b\x5d-\x7e]*")
DEPTH = 20


class ImapSyntaxError(Exception):
    """The command cannot be read; the message is for the client."""


def parse_command(data: bytes) -> list[str | list[object]]:
    """The words of a command, the tag first; a parenthesised list is a list."""
    words, end = _parse_words(data, 0, 0)
    if data[end:].strip():
        raise ImapSyntaxError("unbalanced parenthesis")
    return words


def _parse_words(data: bytes, at: int, depth: int) -> tuple[list[str | list[object]], int]:
    words: list[str | list[object]] = []
    if depth > DEPTH:
        raise ImapSyntaxError("too deeply nested")
    while True:
        while data[at : at + 1] in (b" ", b"\r", b"\n", b"\t"):
            at += 1
        start = data[at : at + 1]
        if start in (b"", b")"):
            return words, at
        if start == b"(":
            inner, at = _parse_words(data, at + 1, depth + 1)
            if data[at : at + 1] != b")":
                raise ImapSyntaxError("a parenthesis is not closed")
            words.append(list[object](inner))
            at += 1
        else:
            word, at = _parse_word(data, at)
            words.append(word)


def _parse_word(data: bytes, at: int) -> tuple[str, int]:
    quoted = QUOTED.match(data, at)
    if quoted is not None:
        return _text(re.sub(rb"\\(.)", rb"\1", quoted.group(1))), quoted.end()
    literal = INLINE_LITERAL.match(data, at)
    if literal is not None:
        end = literal.end() + int(literal.group(1))
        return _text(data[literal.end() : end]), end
    atom = ATOM.match(data, at)
    if atom is None:
        raise ImapSyntaxError("a word is malformed")
    section = SECTION.match(data, atom.end())
    end = section.end() if section is not None else atom.end()
    return _text(data[at:end]), end


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def quote(text: str | bytes | None) -> bytes:
    """A string for the client: quoted where it can be, else a literal; None is NIL."""
    if text is None:
        return b"NIL"
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape")
    if SAFE.fullmatch(data) and len(data) < 1000:
        return b'"' + data + b'"'
    return literal(data)


def literal(data: bytes) -> bytes:
    """The same, always as a literal."""
    return b"{%d}\r\n" % len(data) + data


def listed(items: Iterable[bytes]) -> bytes:
    """A parenthesised list."""
    return b"(" + b" ".join(items) + b")"


def internal_date(at: int) -> bytes:
    """A time as INTERNALDATE has it."""
    return quote(datetime.fromtimestamp(at, UTC).strftime("%d-%b-%Y %H:%M:%S +0000"))


def numbers_of(text: str, last: int) -> list[range]:
    """A sequence set such as `1:4,7,9:*`; `*` is `last`."""
    ranges = []
    for part in text.split(","):
        low, colon, high = part.partition(":")
        try:
            first, final = (last if end == "*" else int(end) for end in (low, high if colon else low))
        except ValueError as error:
            raise ImapSyntaxError(f"{part!r} is no sequence set") from error
        ranges.append(range(min(first, final), max(first, final) + 1))
    return ranges
