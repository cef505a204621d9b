"""How fast held mail goes back: so many messages an hour for each mailbox (the primary's published limits). Pure."""

from __future__ import annotations

HOUR_MS = 3_600_000
BURST = 50


class MailboxPacer:
    """A token bucket for each mailbox. `limit` 0 means none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buckets: dict[str, tuple[float, int]] = {}

    def wait_ms(self, mailbox: str, now_ms: int) -> int:
        """Takes a place for one message; 0 where it may go now, else how long it has to wait (and none is taken)."""
        if self._limit == 0:
            return 0
        most = min(float(self._limit), float(BURST))
        tokens, at = self._buckets.get(mailbox, (most, now_ms))
        tokens = min(most, tokens + max(0, now_ms - at) * self._limit / HOUR_MS)
        if tokens >= 1:
            self._buckets[mailbox] = (tokens - 1, now_ms)
            return 0
        self._buckets[mailbox] = (tokens, now_ms)
        return int((1 - tokens) * HOUR_MS / self._limit) + 1
