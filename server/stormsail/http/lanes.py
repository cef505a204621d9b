"""Next hops as the API shows them."""

from __future__ import annotations

from stormsail.delivery import LaneStatus
from stormsail.wire import Lane

from .shown import optional_time


def show_lane(lane: LaneStatus, waiting: int) -> Lane:
    """What the delivery schedule says of one next hop; `waiting` deliveries are not in its hands yet."""
    return Lane(
        name=lane.name,
        running=lane.running,
        backlog=lane.backlog + waiting,
        breaker=lane.breaker,
        open_until=optional_time(lane.open_until),
        last_failure=lane.last_failure,
    )
