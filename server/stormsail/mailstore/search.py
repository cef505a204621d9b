"""Reading `search-DAY.db`: which messages match, newest day first, and what is shown of a message.

In: an FTS expression. Out: message ids in pages. Holds a bounded number of connections and belongs to one reader.
A database that is broken counts as empty and is reported through `on_broken` with its inode, so that its day is made
again.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path

import msgspec

from stormsail.store import connect_reader

from .damage import is_broken, is_unfinished
from .index import search_days, search_path
from .values import ShownText

OPEN_FILES = 16
FIRST_BATCH = 100
MOST_BATCH = 5_000
FIND = "SELECT rowid FROM words WHERE words MATCH ? AND rowid <= ? ORDER BY rowid DESC"
FOR_EVER = (1 << 63) - 1
_SHOWN = msgspec.msgpack.Decoder(ShownText)
_ENCODER = msgspec.msgpack.Encoder()


def pack_view(shown: ShownText) -> bytes:
    return zlib.compress(_ENCODER.encode(shown), 1)


def unpack_view(data: bytes) -> ShownText:
    """Raises zlib.error, msgspec.MsgspecError."""
    return _SHOWN.decode(zlib.decompress(data))


class SearchReader:
    """The reading side of all days."""

    def __init__(self, data_dir: Path, on_broken: Callable[[str, int], None]) -> None:
        self._data_dir = data_dir
        self._on_broken = on_broken
        self._open: dict[str, tuple[int, sqlite3.Connection]] = {}

    def close(self) -> None:
        for _, connection in self._open.values():
            connection.close()
        self._open.clear()

    def find(self, expression: str, day_limit: str, id_limit: int) -> Generator[tuple[str, list[int]], None, None]:
        """(day, matching message ids, the newest first) in growing batches; from `id_limit` down on `day_limit`.

        Close the iterator when enough is found: a statement is open as long as it lives.
        """
        for day in search_days(self._data_dir):
            if day <= day_limit:
                yield from self._find_on(day, expression, id_limit if day == day_limit else FOR_EVER)

    def shown(self, day: str, message_id: int) -> ShownText | None:
        """What is shown of a message; None where it is not there."""
        try:
            connection = self._connection(day)
            row = (
                connection.execute("SELECT view FROM shown WHERE message_id = ?", (message_id,)).fetchone()
                if connection is not None
                else None
            )
            return unpack_view(row[0]) if row is not None else None
        except sqlite3.Error as error:
            self._broken(day, error)
            return None
        except (zlib.error, msgspec.MsgspecError):
            return None

    def _find_on(self, day: str, expression: str, limit: int) -> Generator[tuple[str, list[int]], None, None]:
        size = FIRST_BATCH
        try:
            connection = self._connection(day)
            if connection is None:
                return
            with closing(connection.execute(FIND, (expression, limit))) as cursor:
                while ids := [row[0] for row in cursor.fetchmany(size)]:
                    yield day, ids
                    size = min(size * 5, MOST_BATCH)
        except sqlite3.Error as error:
            self._broken(day, error)

    def _connection(self, day: str) -> sqlite3.Connection | None:
        """The day's connection; None where there is no file (any more). A file made anew is opened anew."""
        path = search_path(self._data_dir, day)
        inode, connection = self._open.pop(day, (0, None))
        try:
            current = path.stat().st_ino
        except FileNotFoundError:
            current = -1
        if connection is not None and inode != current:
            connection.close()
            connection = None
        if current < 0:
            return None
        if connection is None:
            while len(self._open) >= OPEN_FILES:
                self._open.pop(next(iter(self._open)))[1].close()
            connection = connect_reader(path)
        self._open[day] = (current, connection)
        return connection

    def _broken(self, day: str, error: sqlite3.Error) -> None:
        inode, connection = self._open.pop(day, (0, None))
        if connection is not None:
            connection.close()
        if is_broken(error):
            self._on_broken(day, inode)
        elif search_path(self._data_dir, day).exists() and not is_unfinished(error):
            raise error
