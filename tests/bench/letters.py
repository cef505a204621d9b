"""Text that is worth reading and searching: letters of words that are as unequally frequent as words of a language.

In: a number. Out: always the same letter for it, as its parts or as a message (RFC 5322) in plain text and HTML. The
word of rank n is about 1/n times as frequent as the first, so that a search may ask for common and for rare ones.
"""

from __future__ import annotations

import random
from functools import cache
from itertools import accumulate

import msgspec

VOCABULARY = 20_000
SUBJECT_WORDS = 5
BODY_WORDS = 60
SYLLABLES = ("ba", "de", "fi", "go", "hu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "wu", "za")


class Letter(msgspec.Struct, frozen=True):
    """What somebody wrote."""

    author: str
    address: str
    subject: str
    text: str


def word(rank: int) -> str:
    """The word of that rank, the most frequent being 0."""
    letters = ""
    number = rank + len(SYLLABLES)
    while number:
        number, digit = divmod(number, len(SYLLABLES))
        letters += SYLLABLES[digit]
    return letters


@cache
def _vocabulary() -> tuple[list[str], list[float]]:
    """All words, and the sums of their frequencies up to each."""
    return [word(rank) for rank in range(VOCABULARY)], list(accumulate(1 / (rank + 1) for rank in range(VOCABULARY)))


def letter(number: int, body_words: int = BODY_WORDS) -> Letter:
    """The letter with that number, its text of so many words."""
    words, sums = _vocabulary()
    chosen = random.Random(number).choices(words, cum_weights=sums, k=SUBJECT_WORDS + body_words)
    name = chosen[0].capitalize()
    return Letter(
        f"{name} {chosen[1].capitalize()}",
        f"{name.lower()}@elsewhere.example",
        " ".join(chosen[:SUBJECT_WORDS]),
        " ".join(chosen[SUBJECT_WORDS:]),
    )


def message(number: int, recipient: str, size: int = 0) -> bytes:
    """The letter as a message with CRLF line ends, filled up to `size` octets by an attachment where that is more."""
    written = letter(number)
    head = (
        f"From: {written.author} <{written.address}>\r\nTo: <{recipient}>\r\nSubject: {written.subject}\r\n"
        f"Date: Mon, 2 Mar 2026 10:00:00 +0000\r\nMessage-ID: <{number}@elsewhere.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="=_b"\r\n\r\n'
    )
    lines = _wrapped(written.text)
    plain = f"--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{lines}\r\n"
    html = f"--=_b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body><p>{lines}</p></body></html>\r\n"
    parts = (head + plain + html).encode()
    return parts + _filling(size - len(parts)) + b"--=_b--\r\n"


def _wrapped(text: str) -> str:
    words = text.split()
    return "\r\n".join(" ".join(words[start : start + 12]) for start in range(0, len(words), 12))


def _filling(octets: int) -> bytes:
    """An attachment of about so many octets; none where they do not suffice for one."""
    head = (
        b'--=_b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename="filling.bin"\r\n'
        b"Content-Transfer-Encoding: base64\r\n\r\n"
    )
    line = b"U3Rvcm1zYWls" * 6 + b"\r\n"
    rows = (octets - len(head)) // len(line)
    return head + line * rows if rows > 0 else b""
