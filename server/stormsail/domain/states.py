"""The states of a delivery and the only moves between them (DESIGN §1).

`step()` is total: for every state and input it gives the next state, or None where that input changes nothing.
Final states never change.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class DeliveryState(StrEnum):
    QUEUED = "queued"
    ACTIVE = "active"
    DEFERRED = "deferred"
    HELD = "held"
    SHIELDED = "shielded"
    OUTCOME_UNKNOWN = "outcome_unknown"
    RELAYED = "relayed"
    SENT = "sent"
    FILED = "filed"
    BOUNCED = "bounced"
    REFUSED = "refused"
    EXPIRED = "expired"
    DROPPED = "dropped"
    ABSORBED = "absorbed"


OPEN = frozenset(
    {
        DeliveryState.QUEUED,
        DeliveryState.ACTIVE,
        DeliveryState.DEFERRED,
        DeliveryState.HELD,
        DeliveryState.SHIELDED,
        DeliveryState.OUTCOME_UNKNOWN,
    }
)
FINAL = frozenset(DeliveryState) - OPEN
WAITING = frozenset(OPEN - {DeliveryState.ACTIVE, DeliveryState.HELD})
"""States from which the schedule may start an attempt."""


class DeliveryInput(StrEnum):
    """What can happen to a delivery."""

    START = "start"
    """An attempt begins (also a held one's, when a drain or an operator lets it go)."""
    TAKE_BY_PRIMARY = "take_by_primary"
    TAKE_BY_INTERNET = "take_by_internet"
    FILE = "file"
    DEFER = "defer"
    SHIELD = "shield"
    BOUNCE = "bounce"
    REFUSE = "refuse"
    LOSE_REPLY = "lose_reply"
    COVER = "cover"
    """An active event was found to cover the recipient before anything was sent."""
    KEEP = "keep"
    """A held one passes from an event that ends to another that covers it too."""
    HOLD = "hold"
    RELEASE = "release"
    RETRY = "retry"
    DROP = "drop"
    EXPIRE = "expire"


def step(state: DeliveryState, happened: DeliveryInput) -> DeliveryState | None:
    """The state after `happened`; None where it is no move from `state`."""
    if state in FINAL:
        return None
    active = state is DeliveryState.ACTIVE
    held = state is DeliveryState.HELD
    match happened:
        case DeliveryInput.START:
            return None if active else DeliveryState.ACTIVE
        case DeliveryInput.TAKE_BY_PRIMARY:
            return DeliveryState.RELAYED if active else None
        case DeliveryInput.TAKE_BY_INTERNET:
            return DeliveryState.SENT if active else None
        case DeliveryInput.FILE:
            return DeliveryState.FILED
        case DeliveryInput.DEFER:
            return DeliveryState.DEFERRED if active else None
        case DeliveryInput.SHIELD:
            return DeliveryState.SHIELDED if active else None
        case DeliveryInput.BOUNCE:
            return DeliveryState.BOUNCED
        case DeliveryInput.REFUSE:
            return DeliveryState.REFUSED if active else None
        case DeliveryInput.LOSE_REPLY:
            return DeliveryState.OUTCOME_UNKNOWN if active else None
        case DeliveryInput.COVER:
            return None if held else DeliveryState.HELD
        case DeliveryInput.KEEP:
            return DeliveryState.HELD if held else None
        case DeliveryInput.HOLD:
            return None if active or held else DeliveryState.HELD
        case DeliveryInput.RELEASE:
            return DeliveryState.QUEUED if held else None
        case DeliveryInput.RETRY:
            return None if active or held else DeliveryState.QUEUED
        case DeliveryInput.DROP:
            return None if active else DeliveryState.DROPPED
        case DeliveryInput.EXPIRE:
            return None if held else DeliveryState.EXPIRED
        case _:
            assert_never(happened)
