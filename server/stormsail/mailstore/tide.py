"""How fast mail is coming in, so that making copies gives way to taking mail.

With two cores, filing and digesting at full speed beside a flood halve the rate of accepts (measured). Below `FRESH`
messages a second nothing waits. Above, rows are made in larger batches and digests wait for a while; everything is
durable and listed all the same. Counted on the loop, asked from other threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable

SAMPLE_S = 0.05
FRESH = 300.0
FLOOD = 1000.0
GATHER_S = 0.03
"""How long a first wake-up waits for others to share its commit."""
GATHER_HIGH_S = 0.7
GATHER_FLOOD_S = 3.0
PATIENCE_S = 10.0
"""How long digests give way to a tide that does not end."""


class Tide:
    """Counts accepts."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._count = 0
        self._sampled = (monotonic(), 0, 0.0)
        self._high_since: float | None = None

    def note(self) -> None:
        """One more message was accepted."""
        self._count += 1

    def rate(self) -> float:
        """Messages a second, over the last twentieth of a second or longer."""
        now, count = self._monotonic(), self._count
        at, before, rate = self._sampled
        if now - at >= SAMPLE_S:
            rate = (count - before) / (now - at)
            self._sampled = (now, count, rate)
            self._high_since = (self._high_since or now) if rate > FRESH else None
        return rate

    def gather_s(self) -> float:
        """How long to gather messages before their rows are made."""
        rate = self.rate()
        if rate > FLOOD:
            return GATHER_FLOOD_S
        return GATHER_HIGH_S if rate > FRESH else GATHER_S

    def digests_wait(self) -> bool:
        """Whether messages that nobody looks at should be digested later."""
        high = self.rate() > FRESH
        since = self._high_since
        return high and since is not None and self._monotonic() - since < PATIENCE_S
