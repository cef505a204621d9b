"""The time, passed in to everything that needs it, so that tests can set it.

`now_ms()` is wall time in milliseconds since the epoch (what people and the ledger see);
`monotonic()` is seconds that only grow (what time limits and waits are measured with).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

MS_PER_DAY = 86_400_000
JUMP_MS = 3_600_000
UNKNOWN_BOOT = "unknown"
UNBROKEN: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


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


class SteadyClock:
    """The machine's clocks, except that the wall clock's jumps of more than an hour are not followed (DESIGN §3.16).

    Before the jump it knew what time it was, and monotonic time says how long ago that is, over restarts too as long
    as the machine runs. `save` keeps that in `file`; where the file is right and the machine wrong nothing is lost,
    where it is the other way round a person removes the file and starts anew.
    """

    def __init__(self, file: Path, boot: str | None = None) -> None:
        self._file = file
        self._boot = boot if boot is not None else _boot_id()
        self._ahead = _wall_ms() - _monotonic_ms()
        self._ahead = self._remembered()

    def now_ms(self) -> int:
        wall, monotonic = _wall_ms(), _monotonic_ms()
        if abs(wall - monotonic - self._ahead) > JUMP_MS:
            return monotonic + self._ahead
        self._ahead = wall - monotonic
        return wall

    def monotonic(self) -> float:
        return time.monotonic()

    @property
    def doubted_by_ms(self) -> int:
        """How far the machine's wall clock is ahead of ours; 0 where we go by it."""
        ahead = _wall_ms() - _monotonic_ms() - self._ahead
        return ahead if abs(ahead) > JUMP_MS else 0

    def save(self) -> None:
        """Raises OSError."""
        self._file.write_text(f"{self._boot} {self.now_ms()} {_monotonic_ms()}", "ascii")

    def _remembered(self) -> int:
        """By how much wall time is ahead of monotonic time."""
        try:
            boot, wall, monotonic = self._file.read_text("ascii").split()
            then, since = int(wall), _monotonic_ms() - int(monotonic)
        except (OSError, ValueError):
            return self._ahead
        if boot == self._boot != UNKNOWN_BOOT and since >= 0:
            return then - int(monotonic)
        return max(self._ahead, then - _monotonic_ms())


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _monotonic_ms() -> int:
    """Where there is one, of the clock that goes on while the machine sleeps."""
    return time.clock_gettime_ns(UNBROKEN) // 1_000_000


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return UNKNOWN_BOOT


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
