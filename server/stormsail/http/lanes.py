"""Next hops as the API shows them."""

from __future__ import annotations

from stormsail.delivery import LaneStatus
from stormsail.wire import Lane

from .shown import optional_time


def show_lane(lane: LaneStatus) -> Lane:
    """What the delivery schedule says of one next hop."""
    return Lane(
        name=lane.name,
        running=lane.running,
        backlog=lane.backlog,
        breaker=lane.breaker,
        open_until=optional_time(lane.open_until),
        last_failure=lane.last_failure,
    )
