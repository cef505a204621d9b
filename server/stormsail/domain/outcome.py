"""What becomes of a delivery after an attempt: the one place that turns a reply into a move (DESIGN §3.8 to §3.10).

Pure. In: what the reply is about and what is known of the delivery. Out: an `Outcome`.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from .replies import ReplyClass
from .retry import OUTBOUND_LIFETIME_MS, SHIELD_LIFETIME_MS, retry_delay_ms
from .routing import Direction
from .states import DeliveryInput

NEVER = 1 << 62
"""A due time that does not come: a person decides."""
SYSTEM_DELAY_MOST_S = 120.0
"""A failure of the whole next hop is the circuit breaker's matter; the message itself waits no longer than this."""


class RetrySchedule(msgspec.Struct, frozen=True):
    """Seconds before the first retry, and the longest wait."""

    first_s: float
    most_s: float


class Tried(msgspec.Struct, frozen=True):
    """A delivery at the end of an attempt."""

    direction: Direction
    to_primary: bool
    known: bool
    """In the directory or learnt."""
    in_doubt: bool
    attempts: int
    first_attempt_at: int
    now: int
    chance: float


class Outcome(msgspec.Struct, frozen=True):
    """The move, when it is due again, and what else has to happen."""

    happened: DeliveryInput
    due_at: int | None = None
    notify_author: bool = False
    """Somebody of ours wrote it and must learn that it failed."""
    alert: str | None = None


def decide(about: ReplyClass, tried: Tried, schedule: RetrySchedule) -> Outcome:
    """The outcome of an attempt."""
    if tried.in_doubt and tried.now - tried.first_attempt_at < OUTBOUND_LIFETIME_MS:
        return Outcome(DeliveryInput.LOSE_REPLY, tried.now + _delay(tried, schedule, schedule.most_s))
    if tried.in_doubt:
        return _wait(tried, schedule, schedule.most_s)
    match about:
        case ReplyClass.TAKEN:
            return Outcome(DeliveryInput.TAKE_BY_PRIMARY if tried.to_primary else DeliveryInput.TAKE_BY_INTERNET)
        case ReplyClass.SYSTEM:
            return _wait(tried, schedule, min(schedule.most_s, SYSTEM_DELAY_MOST_S))
        case ReplyClass.RECIPIENT_TEMPORARY | ReplyClass.MESSAGE_TEMPORARY:
            return _wait(tried, schedule, schedule.most_s)
        case ReplyClass.RECIPIENT_REFUSED:
            if tried.to_primary and tried.known:
                return _shield(tried, schedule)
            return _refuse(tried)
        case ReplyClass.MESSAGE_REFUSED | ReplyClass.MESSAGE_TOO_LARGE:
            return _refuse(tried)
        case _:
            assert_never(about)


def _wait(tried: Tried, schedule: RetrySchedule, most_s: float) -> Outcome:
    """Again later; what goes out to the internet expires, what is for a known mailbox of ours turns held."""
    if tried.now - tried.first_attempt_at < OUTBOUND_LIFETIME_MS:
        return Outcome(DeliveryInput.DEFER, tried.now + _delay(tried, schedule, most_s))
    if tried.to_primary and tried.known:
        return Outcome(DeliveryInput.COVER, alert="held after five days of trying")
    return Outcome(DeliveryInput.EXPIRE, notify_author=tried.direction is not Direction.MX)


def _shield(tried: Tried, schedule: RetrySchedule) -> Outcome:
    """A known mailbox is not bounced by a sick primary: retried for a day, then a person decides (DESIGN §3.8)."""
    if tried.now - tried.first_attempt_at < SHIELD_LIFETIME_MS:
        return Outcome(DeliveryInput.SHIELD, tried.now + _delay(tried, schedule, schedule.most_s))
    return Outcome(DeliveryInput.SHIELD, NEVER, alert="refused for a day though the mailbox is known")


def _refuse(tried: Tried) -> Outcome:
    """A believable refusal: authors of ours are told, strangers are not (no backscatter, DESIGN §3.9)."""
    if tried.direction is Direction.MX or tried.direction is Direction.DSN:
        return Outcome(DeliveryInput.REFUSE)
    return Outcome(DeliveryInput.BOUNCE, notify_author=True)


def _delay(tried: Tried, schedule: RetrySchedule, most_s: float) -> int:
    return retry_delay_ms(tried.attempts, schedule.first_s, most_s, tried.chance)
