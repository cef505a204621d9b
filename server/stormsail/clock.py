"""The time, passed in to everything that needs it, so that tests can set it.

`now_ms()` is wall time in milliseconds since the epoch (what people and the ledger see);
`monotonic()` is seconds that only grow (what time limits and waits are measured with).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Protocol

MS_PER_DAY = 86_400_000


class Clock(Protocol):
    """Where the time comes from. The system's in production, a settable one in tests."""

    def now_ms(self) -> int: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clocks."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()


def to_datetime(at_ms: int) -> datetime:
    """A ledger time as an aware datetime in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def to_rfc3339(at_ms: int) -> str:
    """A ledger time as RFC 3339 text in UTC with seconds, as the API prints it."""
    return _second_as_text(at_ms // 1000)


@lru_cache(maxsize=64)
def _second_as_text(second: int) -> str:
    return to_datetime(second * 1000).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_day(at_ms: int) -> str:
    """The UTC day of a ledger time, `YYYY-MM-DD`: the unit of retention."""
    return to_datetime(at_ms).strftime("%Y-%m-%d")


def to_rfc5322(at_ms: int) -> str:
    """A ledger time as an RFC 5322 §3.3 date-time in UTC."""
    return format_datetime(to_datetime(at_ms).replace(microsecond=0))
