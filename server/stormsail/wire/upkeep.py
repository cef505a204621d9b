"""Answers of what operators do to the gateway itself."""

from __future__ import annotations

from .base import Answer


class LedgerCheck(Answer, frozen=True, kw_only=True):
    """The proof of the ledger: every difference that was found, none when `ok`."""

    ok: bool
    differences: list[str]


class ReloadAnswer(Answer, frozen=True, kw_only=True):
    """What a reload took over, and what it could not without a restart."""

    notes: list[str]
