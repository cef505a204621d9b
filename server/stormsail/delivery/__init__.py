"""Mail in transit: lanes to each next hop, attempts, what becomes of them, and the schedule of what waits."""

from .attempt import Attempt, Leg, LegResult, Outgoing
from .lane import LaneStatus
from .queue import DeliveryParts, DeliveryQueue

__all__ = ["Attempt", "DeliveryParts", "DeliveryQueue", "LaneStatus", "Leg", "LegResult", "Outgoing"]
