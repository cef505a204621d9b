"""What the primary said of addresses that the directory does not list (DESIGN §3.7), in memory.

In: the answer of a call-out. Out: whether the primary took the address, while that is worth believing: a yes for
7 days, a no for an hour. Strangers can ask for any number of addresses, so refusals are bounded.
"""

from __future__ import annotations

from stormsail.clock import MS_PER_DAY

TAKEN_KEPT_MS = 7 * MS_PER_DAY
REFUSED_KEPT_MS = 3_600_000
REFUSED_LIMIT = 50_000


class Learnt:
    """Answers by address key. Within each dictionary the oldest answer is first."""

    def __init__(self) -> None:
        self.taken: dict[str, int] = {}
        self._refused: dict[str, int] = {}

    def note(self, key: str, taken: bool, now_ms: int) -> None:
        """Remembers an answer in the place of any earlier one."""
        self.taken.pop(key, None)
        self._refused.pop(key, None)
        if taken:
            self.taken[key] = now_ms
            return
        self._refused[key] = now_ms
        if len(self._refused) > REFUSED_LIMIT:
            del self._refused[next(iter(self._refused))]

    def answer(self, key: str, now_ms: int) -> bool | None:
        """True and False while remembered, None where there is nothing to go by."""
        at = self.taken.get(key)
        if at is not None:
            return True if now_ms - at < TAKEN_KEPT_MS else None
        at = self._refused.get(key)
        return False if at is not None and now_ms - at < REFUSED_KEPT_MS else None

    def current(self, now_ms: int) -> dict[str, int]:
        """Addresses that the primary took, with the time of the answer; those too old are dropped."""
        for key in [key for key, at in self.taken.items() if now_ms - at >= TAKEN_KEPT_MS]:
            del self.taken[key]
        return dict(self.taken)
