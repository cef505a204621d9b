"""The ledger: what happened to every message and delivery, and what is to happen next (DESIGN §6)."""

from .bulk import MoveMany, move_chunk
from .check import check_ledger, orphans
from .ledger import Ledger
from .queries import LedgerReader, QueueFilter, ReportLine, parse_selector
from .values import (
    Acceptance,
    Change,
    DeliveryRow,
    EventEntry,
    EventRow,
    MessageFlag,
    MessageRow,
    PlannedDelivery,
    Transition,
)
from .wal import checkpoint

__all__ = [
    "Acceptance",
    "Change",
    "DeliveryRow",
    "EventEntry",
    "EventRow",
    "Ledger",
    "LedgerReader",
    "MessageFlag",
    "MessageRow",
    "MoveMany",
    "PlannedDelivery",
    "QueueFilter",
    "ReportLine",
    "Transition",
    "check_ledger",
    "checkpoint",
    "move_chunk",
    "orphans",
    "parse_selector",
]
