"""A clock that stands still until a test moves it."""

from __future__ import annotations

MIDDAY_MS = 1_772_445_600_000
"""2026-03-02 10:00:00 UTC: a Monday."""


class SetClock:
    """Wall time and monotonic time move together, by `advance` only."""

    def __init__(self, now_ms: int = MIDDAY_MS) -> None:
        self._now_ms = now_ms
        self._monotonic = 1000.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        self._now_ms += int(seconds * 1000)
        self._monotonic += seconds
