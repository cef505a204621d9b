"""When a deferred delivery is tried again, and when it is given up (RFC 5321 §4.5.4.1, DESIGN §3.10)."""

from __future__ import annotations

GROWTH = 1.6
JITTER = 0.2
OUTBOUND_LIFETIME_MS = 5 * 86_400_000
SHIELD_LIFETIME_MS = 86_400_000


def retry_delay_ms(failures: int, first_s: float, most_s: float, chance: float) -> int:
    """Milliseconds to wait after the `failures`-th failure (1 is the first); `chance` is uniform in [0, 1).

    Grows by `GROWTH` from `first_s` to `most_s`, with ±20 % jitter: at 15 s and an hour that is seven tries in the
    first five minutes, later one an hour.
    """
    exponent = min(max(failures - 1, 0), 40)
    wait_s = min(most_s, first_s * GROWTH**exponent)
    return int(wait_s * 1000 * (1 - JITTER + 2 * JITTER * chance))
