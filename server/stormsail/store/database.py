"""SQLite as used everywhere here: WAL, STRICT tables, numbered migrations beside the part that owns the SQL.

One connection writes a file; readers open it read-only. A database newer than this program is refused.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

import aiosqlite

from stormsail.domain.errors import StoreError

BUSY_MS = 10_000


class DatabaseBusy(sqlite3.OperationalError):
    """Somebody reads the database, or copies its log, for longer than was waited."""


def connect_writer(path: Path, *, full: bool = True, autocheckpoint: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode that writes; `full` syncs the log at every commit."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={'FULL' if full else 'NORMAL'}")
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA cache_size=-65536")
    if not autocheckpoint:
        connection.execute("PRAGMA wal_autocheckpoint=0")
    return connection


def begin_log_anew(connection: sqlite3.Connection, mode: Literal["RESTART", "TRUNCATE"], wait_ms: int) -> None:
    """Copies the whole log into the database, durably; the next commit is written to the log's beginning.

    SQLite raises nothing where a reader keeps it from that, it says so in a row. Raises DatabaseBusy then.
    """
    connection.execute(f"PRAGMA busy_timeout={wait_ms}")
    try:
        busy, frames, copied = connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
    finally:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    if busy:
        raise DatabaseBusy(f"Somebody reads the database: {copied} of {frames} pages of its log were copied")


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that cannot write; the file must exist."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    connection.execute("PRAGMA query_only=ON")
    return connection


async def open_reader(path: Path) -> aiosqlite.Connection:
    """The same for the event loop; rows come as sqlite3.Row."""
    connection = await aiosqlite.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    await connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
    await connection.execute("PRAGMA query_only=ON")
    connection.row_factory = sqlite3.Row
    return connection


def migrate(connection: sqlite3.Connection, folder: Path) -> None:
    """Brings a database up to the newest `NNN_*.sql` of `folder`, each file in one transaction.

    Raises StoreError where the database was written by a newer program.
    """
    steps = sorted(folder.glob("[0-9][0-9][0-9]_*.sql"))
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    newest = int(steps[-1].name[:3])
    if version > newest:
        raise StoreError(
            f"The database has format {version} and this program knows up to {newest}: run the newer program"
        )
    for step in steps:
        number = int(step.name[:3])
        if number > version:
            connection.executescript(f"BEGIN;\n{step.read_text('utf-8')}\nPRAGMA user_version={number};\nCOMMIT;")
