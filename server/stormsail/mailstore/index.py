"""Writing `search-DAY.db`: the decoded text of a day's messages and its full-text index (DESIGN §6).

In: digested messages. Out: rows that readers find. Belongs to the filer's thread; keeps few databases open. A file
that is broken is unlinked and reported as DayLost: the day is digested again. Other failures are sqlite3.Error.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from stormsail.store import connect_writer, migrate

from .damage import is_broken

MIGRATIONS = Path(__file__).parent / "search_migrations"
NAME = re.compile(r"search-(\d{4}-\d\d-\d\d)\.db")
OPEN_FILES = 4
INSERT_WORDS = "INSERT INTO words (rowid, subject, author, recipients, message_id, body, boxes) VALUES (?,?,?,?,?,?,?)"


class DayLost(Exception):
    """A day's search database was broken and is gone; what was in it has to be made again."""

    def __init__(self, day: str) -> None:
        super().__init__(day)
        self.day = day


class IndexedMessage(msgspec.Struct, frozen=True):
    """A message's words by column, and what is shown of it."""

    message_id: int
    subject: str
    author: str
    recipients: str
    header_message_id: str
    body: str
    boxes: str
    view: bytes


def search_path(data_dir: Path, day: str) -> Path:
    return data_dir / f"search-{day}.db"


def search_days(data_dir: Path) -> list[str]:
    """The days with a search database, the newest first."""
    found = (NAME.fullmatch(path.name) for path in data_dir.glob("search-*.db"))
    return sorted((match[1] for match in found if match is not None), reverse=True)


class SearchIndex:
    """The writing side of all days."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._open: dict[str, sqlite3.Connection] = {}

    def add(self, day: str, messages: Sequence[IndexedMessage]) -> None:
        """Indexes messages, each once, and commits. Raises DayLost."""
        with _Guard(self, day) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                for message in messages:
                    _add_one(connection, message)
                connection.execute("COMMIT")
            except sqlite3.Error:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def count(self, day: str) -> int:
        """How many messages are indexed. Raises DayLost."""
        with _Guard(self, day) as connection:
            return int(connection.execute("SELECT count(*) FROM done").fetchone()[0])

    def ids(self, day: str) -> frozenset[int]:
        """The messages that are indexed. Raises DayLost."""
        with _Guard(self, day) as connection:
            return frozenset(row[0] for row in connection.execute("SELECT message_id FROM done"))

    def drop(self, day: str) -> None:
        """Unlinks a day's database."""
        self._close(day)
        path = search_path(self._data_dir, day)
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)

    def close(self) -> None:
        for day in list(self._open):
            self._close(day)

    def connection(self, day: str) -> sqlite3.Connection:
        """The day's connection, made where there is none."""
        connection = self._open.pop(day, None)
        if connection is None:
            while len(self._open) >= OPEN_FILES:
                self._close(next(iter(self._open)))
            connection = connect_writer(search_path(self._data_dir, day), full=False)
            try:
                connection.execute("PRAGMA cache_size=-16384")
                migrate(connection, MIGRATIONS)
            except BaseException:
                connection.close()
                raise
        self._open[day] = connection
        return connection

    def _close(self, day: str) -> None:
        connection = self._open.pop(day, None)
        if connection is not None:
            connection.close()


class _Guard:
    """Turns the discovery that a day's file is broken into DayLost, with the file out of the way."""

    def __init__(self, index: SearchIndex, day: str) -> None:
        self._index = index
        self._day = day

    def __enter__(self) -> sqlite3.Connection:
        try:
            return self._index.connection(self._day)
        except sqlite3.Error as error:
            self._give_up(error)
            raise

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        if is_broken(error):
            self._index.drop(self._day)
            raise DayLost(self._day) from error


def _add_one(connection: sqlite3.Connection, message: IndexedMessage) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO shown (message_id, view) VALUES (?,?)", (message.message_id, message.view)
    )
    if connection.execute("INSERT OR IGNORE INTO done VALUES (?)", (message.message_id,)).rowcount == 1:
        connection.execute(
            INSERT_WORDS,
            (message.message_id, message.subject, message.author, message.recipients, message.header_message_id)
            + (message.body, message.boxes),
        )
