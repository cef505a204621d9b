"""`people.db`: one connection that writes, one that reads, migrations.

In: SQL of the accounts' own modules. Out: rows, and transactions of which only one runs at a time, since they share
a connection. Fails with StorageFull or TemporaryError where SQLite refuses, StoreError where a newer program wrote.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any

import aiosqlite

from stormsail.domain.errors import StorageFull, StormsailError, TemporaryError
from stormsail.store import connect_writer, migrate, open_reader

MIGRATIONS = Path(__file__).parent / "migrations"


class PeopleDatabase:
    """Open between `start` and `stop`."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "people.db"
        self._lock = asyncio.Lock()
        self._writer: aiosqlite.Connection | None = None
        self._reader: aiosqlite.Connection | None = None

    async def start(self) -> None:
        """Migrates and opens. Raises StoreError."""
        await asyncio.to_thread(self._migrate)
        self._writer = await aiosqlite.connect(self._path, isolation_level=None)
        await self._writer.execute("PRAGMA synchronous=FULL")
        await self._writer.execute("PRAGMA busy_timeout=10000")
        await self._writer.execute("PRAGMA foreign_keys=ON")
        self._reader = await open_reader(self._path)

    async def stop(self) -> None:
        """Closes after the running transaction."""
        async with self._lock:
            for connection in (self._writer, self._reader):
                if connection is not None:
                    await connection.close()
            self._writer = self._reader = None

    async def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What a query gives; only committed rows are seen."""
        if self._reader is None:
            raise TemporaryError("The accounts are not open")
        try:
            return list(await self._reader.execute_fetchall(sql, values))
        except sqlite3.Error as error:
            raise _refusal(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """A transaction that is committed at the end of the block, and undone where the block raises."""
        async with self._lock:
            if self._writer is None:
                raise TemporaryError("The accounts are not open")
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    await self._writer.execute("COMMIT")
                except BaseException:
                    # After a COMMIT that was cancelled half-way there may be nothing left to undo.
                    with suppress(sqlite3.Error):
                        await self._writer.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _refusal(error) from error

    def _migrate(self) -> None:
        # Password hashes are nobody else's to read; SQLite gives its log the rights of the database.
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(connect_writer(self._path)) as connection:
            migrate(connection, MIGRATIONS)


def _refusal(error: sqlite3.Error) -> StormsailError:
    if isinstance(error, sqlite3.OperationalError) and "full" in str(error):
        return StorageFull("There is no room to write to the accounts' database")
    return TemporaryError(f"The accounts' database refused: {error}")
