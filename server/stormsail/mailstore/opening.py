"""Opening `mail.db`: migrations, what a crash or a loss calls for, and UIDVALIDITY, which only grows.

In: the data directory. Out: a connection that writes. A file that is no database any more is set aside and made anew
from the ledger. Raises StoreError where it was written by a newer program, sqlite3.Error and OSError on a sick disk.
"""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import structlog

from stormsail.clock import Clock
from stormsail.domain.ids import first_id_at
from stormsail.ledger.following import LedgerFollower
from stormsail.store import BodyFiles, connect_writer, migrate

from . import boxes
from .damage import is_broken

MIGRATIONS = Path(__file__).parent / "migrations"
FILE = "mail.db"
UIDVALIDITY_FILE = "mail.uidvalidity"
START_SLACK_MS = 86_400_000
"""A body's folder is named for the day it was written, a message's id for the moment it was reserved."""
ID_SHIFT = 21


class Opened:
    """The database ready for the filer; `uidvalidity` is for folders made from now on."""

    def __init__(self, connection: sqlite3.Connection, uidvalidity: int, *, fresh: bool) -> None:
        self.connection = connection
        self.uidvalidity = uidvalidity
        self.fresh = fresh


def open_mail(data_dir: Path, ledger: LedgerFollower, bodies: BodyFiles, clock: Clock) -> Opened:
    """Opens or makes `mail.db`."""
    path = data_dir / FILE
    try:
        connection = _connect(path)
    except sqlite3.DatabaseError as error:
        if not is_broken(error):
            raise
        _set_aside(path, clock.now_ms(), error)
        connection = _connect(path)
    row = connection.execute("SELECT cursor, clean FROM follower").fetchone()
    newest = ledger.newest()
    validity = _read_uidvalidity(data_dir)
    if row is None or not row[1] or validity == 0:
        validity = _grow_uidvalidity(data_dir, validity, max(clock.now_ms(), newest >> ID_SHIFT) // 1000)
    connection.execute("BEGIN IMMEDIATE")
    if row is None:
        connection.execute("INSERT INTO follower (one, cursor, clean) VALUES (1, ?, 0)", (_first_cursor(bodies),))
    else:
        if not row[1]:
            boxes.leap(connection)
        connection.execute("UPDATE follower SET clean = 0, cursor = min(cursor, ?)", (newest,))
    connection.execute("COMMIT")
    return Opened(connection, validity, fresh=row is None)


def close_mail(connection: sqlite3.Connection) -> None:
    """Says that nothing was lost."""
    connection.execute("UPDATE follower SET clean = 1")
    connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = connect_writer(path)
    try:
        migrate(connection, MIGRATIONS)
        connection.execute("SELECT cursor FROM follower").fetchone()
        connection.execute("SELECT max(id) FROM copy").fetchone()
        connection.execute("SELECT max(id) FROM message").fetchone()
        for small in ("mailbox", "folder", "absent"):
            connection.execute(f"SELECT * FROM {small}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: Path, now_ms: int, error: sqlite3.DatabaseError) -> None:
    log = structlog.get_logger(__name__)
    for suffix in ("", "-wal", "-shm"):
        old = path.with_name(path.name + suffix)
        if old.exists():
            old.rename(path.with_name(f"{path.name}.damaged-{now_ms}{suffix}"))
    log.error("mail_db_set_aside", reason=str(error), meaning="all copies are made anew; flags and folders are lost")


def _first_cursor(bodies: BodyFiles) -> int:
    """Where a new database begins to follow: shortly before the oldest body there is."""
    days = bodies.days()
    return max(0, first_id_at(day_start_ms(days[0]) - START_SLACK_MS)) if days else 0


def day_start_ms(day: str) -> int:
    """The first millisecond of a UTC day; 0 for a name that is no day."""
    try:
        return int(datetime.strptime(day, "%Y-%m-%d").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError:
        return 0


def _read_uidvalidity(data_dir: Path) -> int:
    try:
        return int((data_dir / UIDVALIDITY_FILE).read_text("ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _grow_uidvalidity(data_dir: Path, last: int, now_s: int) -> int:
    """A greater UIDVALIDITY than any before, kept beside the database so that it outlives it."""
    value = max(last + 1, now_s)
    path = data_dir / UIDVALIDITY_FILE
    fresh = path.with_suffix(".new")
    with fresh.open("w", encoding="ascii") as file:
        file.write(str(value))
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return value
