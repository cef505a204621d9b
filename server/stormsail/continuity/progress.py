"""How far a drain is, and when it will be done. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

WINDOW_MS = 60_000


class Progress(msgspec.Struct, frozen=True):
    """Deliveries held and handed back; `eta_s` is None where nothing tells."""

    held: int
    handed_back: int
    eta_s: int | None
    paused: bool


class Pace:
    """Remembers when deliveries were handed back, to tell how long the rest will take."""

    def __init__(self) -> None:
        self._times: deque[int] = deque()
        self._started: int | None = None

    def note(self, now_ms: int) -> None:
        """One more was handed back."""
        if self._started is None:
            self._started = now_ms
        self._times.append(now_ms)
        while self._times and self._times[0] < now_ms - WINDOW_MS:
            self._times.popleft()

    def eta_s(self, held: int, now_ms: int) -> int | None:
        """Seconds for the rest at the pace of the last minute."""
        if held == 0:
            return 0
        recent = [at for at in self._times if at >= now_ms - WINDOW_MS]
        if not recent or self._started is None:
            return None
        span_ms = max(1000, min(WINDOW_MS, now_ms - self._started))
        return int(held * span_ms / len(recent) / 1000) + 1
