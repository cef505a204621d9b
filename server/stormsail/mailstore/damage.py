"""Telling a database that is broken from a disk that is busy or full."""

from __future__ import annotations

import sqlite3

BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
SHORT_READ = 522
"""SQLITE_IOERR_SHORT_READ: the file has been cut."""


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the file will never be read again, rather than not now."""
    code = getattr(error, "sqlite_errorcode", 0)
    return code == SHORT_READ or code & 0xFF in BROKEN


def is_unfinished(error: sqlite3.Error) -> bool:
    """Whether the file is just being made: its tables are not there yet."""
    return "no such table" in str(error)
