"""The circuit breaker of one next hop, pure: only failures of the system open it (DESIGN §5).

Closed: attempts run at full concurrency. Open: nothing is tried until `wait_ms` is over. Half open: one attempt at
a time, each with another message, so that one poison message cannot keep a healthy primary closed off.
"""

from __future__ import annotations

import msgspec

FAILURES_TO_OPEN = 5
FIRST_WAIT_MS = 5_000
MOST_WAIT_MS = 60_000
SUCCESSES_TO_CLOSE = 3


class Breaker(msgspec.Struct, frozen=True):
    """`open_until_ms` 0 means closed; `failures` are system failures in a row, `trials` successes since half open."""

    failures: int = 0
    open_until_ms: int = 0
    wait_ms: int = FIRST_WAIT_MS
    trials: int = 0

    @property
    def closed(self) -> bool:
        return self.open_until_ms == 0

    def allows(self, now_ms: int, running: int, full: int) -> bool:
        """Whether one more attempt may start beside `running` ones, of `full` at most."""
        if self.closed:
            return running < full
        return now_ms >= self.open_until_ms and running < 1 + self.trials

    def success(self) -> Breaker:
        """After a reply from a system that works, be it a refusal of one recipient."""
        if self.closed:
            return self if self.failures == 0 else Breaker()
        if self.trials + 1 >= SUCCESSES_TO_CLOSE:
            return Breaker()
        return msgspec.structs.replace(self, trials=self.trials + 1, failures=0)

    def failure(self, now_ms: int, chance: float) -> Breaker:
        """After a failure of the system; `chance` uniform in [0, 1) spreads the next try by ±20 %."""
        if now_ms < self.open_until_ms:
            return self  # one that had begun before it opened
        failures = self.failures + 1
        if self.closed and failures < FAILURES_TO_OPEN:
            return msgspec.structs.replace(self, failures=failures)
        wait = FIRST_WAIT_MS if self.closed else min(self.wait_ms * 2, MOST_WAIT_MS)
        return Breaker(failures, now_ms + int(wait * (0.8 + 0.4 * chance)), wait, 0)
