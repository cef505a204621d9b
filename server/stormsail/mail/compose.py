"""A message written here, as bytes: plain text, well-formed by RFC 5322, 2045, 2047, 7-bit clean. Pure.

In: a `Letter`. Out: the whole message with CRLF line ends. Bcc recipients are never part of it.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec

ENCODED_LIMIT = 45
"""Octets of UTF-8 in one encoded word, so that it stays within 75 characters (RFC 2047 §2)."""
LINE_LIMIT = 76
ATOM_PHRASE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


class Person(msgspec.Struct, frozen=True):
    """An address as it stands in a header field, with the name shown before it."""

    address: str
    name: str = ""


class Letter(msgspec.Struct, frozen=True):
    """What is to be written. `date` is RFC 5322 text, ids are without angle brackets."""

    author: Person
    to: tuple[Person, ...]
    cc: tuple[Person, ...]
    subject: str
    text: str
    date: str
    message_id: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


def build_letter(letter: Letter) -> bytes:
    """The message."""
    fields = [
        ("Date", letter.date),
        ("From", _people((letter.author,))),
        ("To", _people(letter.to) if letter.to else "undisclosed-recipients:;"),
    ]
    if letter.cc:
        fields.append(("Cc", _people(letter.cc)))
    fields += [("Subject", _words(letter.subject)), ("Message-ID", f"<{letter.message_id}>")]
    if letter.in_reply_to is not None:
        fields.append(("In-Reply-To", f"<{_clean(letter.in_reply_to)}>"))
    if letter.references:
        fields.append(("References", "\r\n ".join(f"<{_clean(one)}>" for one in letter.references)))
    encoding, body = _encoded(letter.text)
    fields += [
        ("MIME-Version", "1.0"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", encoding),
    ]
    head = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return head.encode("ascii", "replace") + b"\r\n" + body


def _people(people: tuple[Person, ...]) -> str:
    return ",\r\n ".join(f"{_phrase(one.name)} <{one.address}>" if one.name else one.address for one in people)


def _phrase(name: str) -> str:
    """A display name: atoms as they are, other ASCII quoted, the rest as encoded words."""
    clean = _clean(name)
    if not clean.isascii() or "=?" in clean:
        return _words(clean)
    if ATOM_PHRASE.fullmatch(clean):
        return clean
    return '"' + clean.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _words(text: str) -> str:
    """Unstructured text of a field: as it is where it is short ASCII, else encoded words (RFC 2047)."""
    clean = _clean(text)
    if clean.isascii() and len(clean) < 900 and "=?" not in clean:
        return clean
    chunks: list[bytes] = [b""]
    for letter in clean:
        octets = letter.encode("utf-8", "replace")
        if len(chunks[-1]) + len(octets) > ENCODED_LIMIT:
            chunks.append(b"")
        chunks[-1] += octets
    return "\r\n ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode('ascii')}?=" for chunk in chunks)


def _clean(text: str) -> str:
    """No control characters, line ends among them, in a header field."""
    return CONTROL.sub(" ", text).strip()


def _encoded(text: str) -> tuple[str, bytes]:
    """The body and the name of its transfer encoding."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    plain = "\r\n".join(lines) + "\r\n"
    if plain.isascii() and all(len(line) <= LINE_LIMIT * 10 for line in lines):
        return "7bit", plain.encode("ascii")
    quoted = [binascii.b2a_qp(line.encode("utf-8", "replace"), istext=True) for line in lines]
    return "quoted-printable", b"\r\n".join(line.replace(b"\n", b"\r\n") for line in quoted) + b"\r\n"
