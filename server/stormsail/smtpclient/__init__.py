"""Sockets out by SMTP: negotiation by aiosmtplib, transactions by a small pipelining client of ours."""

from .connect import ConnectFailed, NextHop, hops_of_primary, open_connection
from .connection import Connection
from .transaction import Envelope, Message, RecipientResult, Transaction, run_transaction, verify_recipient

__all__ = [
    "ConnectFailed",
    "Connection",
    "Envelope",
    "Message",
    "NextHop",
    "RecipientResult",
    "Transaction",
    "hops_of_primary",
    "open_connection",
    "run_transaction",
    "verify_recipient",
]
