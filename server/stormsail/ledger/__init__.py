"""The ledger: what happened to every message and delivery, and what is to happen next (DESIGN §6)."""

from .check import check_ledger, orphans
from .ledger import Ledger, checkpoint
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
    "PlannedDelivery",
    "QueueFilter",
    "ReportLine",
    "Transition",
    "check_ledger",
    "checkpoint",
    "orphans",
    "parse_selector",
]
