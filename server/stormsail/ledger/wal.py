"""The ledger's write-ahead log: copied into the database beside the writer, never by it (DESIGN §6)."""

from __future__ import annotations

from pathlib import Path

from stormsail.store import connect_writer

WAL_LIMIT = 64 << 20
WAL_WORTH_COPYING = 1 << 20


def checkpoint(path: Path) -> None:
    """Copies the write-ahead log into the database, off the writer's thread, if it is worth it; blocks on the disk."""
    if wal_size(path) < WAL_WORTH_COPYING:
        return
    connection = connect_writer(path, autocheckpoint=False)
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    finally:
        connection.close()


def wal_size(path: Path) -> int:
    try:
        return path.with_name(path.name + "-wal").stat().st_size
    except FileNotFoundError:
        return 0
