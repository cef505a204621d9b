"""Accounts of the people who sign in here, their sessions, what they sent once, and the audit trail."""

from .accounts import Accounts, SignIn
from .audit import AuditRow, AuditTrail
from .passwords import Passwords
from .rows import Account
from .sent_once import SentOnce
from .sessions import Session, Sessions
from .throttle import Throttle, peer_network

__all__ = [
    "Account",
    "Accounts",
    "AuditRow",
    "AuditTrail",
    "Passwords",
    "SentOnce",
    "Session",
    "Sessions",
    "SignIn",
    "Throttle",
    "peer_network",
]
