"""The directory's SQL, in `directory.db`.

In: entries of one source, learnt addresses. Out: the same, read back. Fails with sqlite3 errors, which `directory`
turns into ours; an import is one transaction.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import aiosqlite
import msgspec

from stormsail.store import connect_writer, migrate

from .snapshot import Entry, EntryKind

MIGRATIONS = Path(__file__).parent / "migrations"
FILE_NAME = "directory.db"


class ImportRun(msgspec.Struct, frozen=True):
    """An import that was done."""

    at: int
    source: str
    actor: str
    entries: int
    added: int
    removed: int
    changed: int
    forced: bool


class Held(msgspec.Struct, frozen=True):
    """What one source brought, and of when that is."""

    as_of: int
    entries: list[Entry]


async def open_directory(data_dir: Path) -> aiosqlite.Connection:
    """The database, migrated. Raises StoreError where a newer program wrote it."""
    path = data_dir / FILE_NAME
    with closing(connect_writer(path)) as connection:
        migrate(connection, MIGRATIONS)
    opened = await aiosqlite.connect(path, isolation_level=None)
    await opened.execute("PRAGMA synchronous=FULL")
    return opened


async def read_sources(connection: aiosqlite.Connection) -> dict[str, Held]:
    """Everything that was imported, by source."""
    aliases = await _read_lists(connection, "SELECT source, address, alias FROM alias ORDER BY source, address, alias")
    members = await _read_lists(
        connection, "SELECT source, address, member FROM member ORDER BY source, address, place"
    )
    held = {
        name: Held(as_of, []) for name, as_of in await connection.execute_fetchall("SELECT name, as_of FROM source")
    }
    rows = await connection.execute_fetchall("SELECT source, address, name, segment, kind FROM entry")
    for source, address, name, segment, kind in rows:
        key = (source, address)
        entry = Entry(address, name, segment, EntryKind(kind), tuple(aliases.get(key, ())), tuple(members.get(key, ())))
        held[source].entries.append(entry)
    return held


async def _read_lists(connection: aiosqlite.Connection, query: str) -> dict[tuple[str, str], list[str]]:
    lists: dict[tuple[str, str], list[str]] = {}
    for source, address, item in await connection.execute_fetchall(query):
        lists.setdefault((source, address), []).append(item)
    return lists


async def replace_source(connection: aiosqlite.Connection, as_of: int, entries: list[Entry], run: ImportRun) -> None:
    """Puts `entries` in the place of all that the source of `run` had, and writes down that this was done."""
    source = run.source
    await connection.execute("BEGIN IMMEDIATE")
    try:
        for table in ("entry", "alias", "member"):
            await connection.execute(f"DELETE FROM {table} WHERE source = ?", (source,))
        await connection.execute("INSERT OR REPLACE INTO source (name, as_of) VALUES (?, ?)", (source, as_of))
        await connection.executemany(
            "INSERT INTO entry (source, address, name, segment, kind) VALUES (?, ?, ?, ?, ?)",
            [(source, entry.address, entry.name, entry.segment, entry.kind.value) for entry in entries],
        )
        await connection.executemany(
            "INSERT INTO alias (source, address, alias) VALUES (?, ?, ?)",
            [(source, entry.address, alias) for entry in entries for alias in entry.aliases],
        )
        await connection.executemany(
            "INSERT INTO member (source, address, place, member) VALUES (?, ?, ?, ?)",
            [(source, entry.address, at, member) for entry in entries for at, member in enumerate(entry.members)],
        )
        await connection.execute(
            "INSERT INTO import_run (at, source, actor, entries, added, removed, changed, forced)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            msgspec.structs.astuple(run),
        )
        await connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            await connection.execute("ROLLBACK")


async def read_runs(connection: aiosqlite.Connection, limit: int) -> list[ImportRun]:
    """The last imports, the newest first."""
    rows = await connection.execute_fetchall(
        "SELECT at, source, actor, entries, added, removed, changed, forced FROM import_run ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        ImportRun(at, source, actor, entries, added, removed, changed, bool(forced))
        for at, source, actor, entries, added, removed, changed, forced in rows
    ]


async def read_learnt(connection: aiosqlite.Connection, since: int) -> dict[str, int]:
    """Addresses learnt since then, with the time of each; older ones are forgotten for good."""
    await connection.execute("DELETE FROM learnt WHERE at < ?", (since,))
    rows = await connection.execute_fetchall("SELECT address, at FROM learnt ORDER BY at")
    return {str(address): int(at) for address, at in rows}


async def write_learnt(connection: aiosqlite.Connection, address: str, at: int | None) -> None:
    """Remembers an address, or with `at` None forgets it."""
    if at is None:
        await connection.execute("DELETE FROM learnt WHERE address = ?", (address,))
    else:
        await connection.execute("INSERT OR REPLACE INTO learnt (address, at) VALUES (?, ?)", (address, at))
