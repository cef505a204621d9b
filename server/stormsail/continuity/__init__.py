"""Continuity events: who carries the mail, from the activation to the last message handed back (DESIGN §5)."""

from .continuity import Continuity, ContinuityParts
from .progress import Progress
from .report import EventReport, MailboxBalance, make_report

__all__ = ["Continuity", "ContinuityParts", "EventReport", "MailboxBalance", "Progress", "make_report"]
