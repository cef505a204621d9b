"""The one table that decides what becomes of a message for one recipient (DESIGN §5).

(direction, recipient, event cover) → route. Pure; looked up when a message is accepted. Whether an event covers the
recipient is asked again as each attempt is about to start (`delivery/runner.py`): cover turns a relay into a hold.
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class Direction(StrEnum):
    """The door a message came in by."""

    MX = "mx"
    CONNECTOR = "connector"
    SUBMISSION = "submission"
    COMPOSE = "compose"
    DSN = "dsn"


class RecipientKind(StrEnum):
    OURS = "ours"
    """In a domain of ours: in the directory, or accepted by its domain's rule for unknown ones."""
    FOREIGN = "foreign"


class Route(StrEnum):
    RELAY = "relay"
    """To the primary, now."""
    HOLD = "hold"
    """Kept for the primary until no event covers the recipient; readable here meanwhile."""
    OUT = "out"
    """To the internet, by MX or smarthost."""
    REJECT = "reject"
    """Nobody may use this door for that recipient."""


def route(direction: Direction, recipient: RecipientKind, covered: bool) -> Route:
    """What is to be done for one recipient."""
    if recipient is RecipientKind.OURS:
        return Route.HOLD if covered else Route.RELAY
    match direction:
        case Direction.MX:
            return Route.REJECT
        case Direction.CONNECTOR | Direction.SUBMISSION | Direction.COMPOSE | Direction.DSN:
            return Route.OUT
        case _:
            assert_never(direction)


def primary_lane(primary: str) -> str:
    """The lane of deliveries to a primary."""
    return f"primary:{primary}"


def outward_lane(domain: str, smarthost: bool) -> str:
    """The lane of deliveries to the internet: one for the smarthost, else one for each domain."""
    return "smarthost" if smarthost else f"mx:{domain}"
