"""Message and delivery ids: 63-bit numbers that grow in the order of acceptance, written as 13 letters and digits.

The upper bits are milliseconds since the epoch, the lower ones a counter; an id is never given twice, whatever
the clock does, as long as the generator starts above the largest id of the ledger.
"""

from __future__ import annotations

from functools import lru_cache

COUNTER_BITS = 21
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)
VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
LENGTH = 13


class IdGenerator:
    """Gives growing ids. `last` is the largest id ever given."""

    def __init__(self, last: int = 0) -> None:
        self._last = last

    def next(self, now_ms: int) -> int:
        self._last = max(self._last + 1, now_ms << COUNTER_BITS)
        return self._last


def first_id_at(at_ms: int) -> int:
    """The smallest id that a message accepted at or after `at_ms` can have."""
    return at_ms << COUNTER_BITS


@lru_cache(maxsize=1024)
def id_to_text(number: int) -> str:
    """The id as people, logs and the API see it."""
    pairs = [PAIRS[number >> shift & 1023] for shift in (50, 40, 30, 20, 10, 0)]
    return ALPHABET[number >> 60] + "".join(pairs)


def id_from_text(text: str) -> int | None:
    """The number of a written id; None where the text is none."""
    if len(text) != LENGTH:
        return None
    number = 0
    for letter in text.lower():
        value = VALUES.get(letter)
        if value is None:
            return None
        number = number << 5 | value
    return number if number < 1 << 63 else None
