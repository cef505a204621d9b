"""The audit trail: who did what to what, each row hashing the one before it, so that no row can be changed unseen.

In: actor, action, target, detail. Out: pages for people, and a proof. Rows are never changed or deleted. A cut-off
end is not visible from inside; the newest row's hash, noted elsewhere, shows it.
"""

from __future__ import annotations

import hashlib

import aiosqlite
import msgspec

from stormsail.clock import Clock

from .database import PeopleDatabase

NOTHING_BEFORE = bytes(32)
DETAIL_LIMIT = 2000
CHECKED_AT_ONCE = 1000


class AuditRow(msgspec.Struct, frozen=True):
    """One line of the trail."""

    id: int
    at: int
    actor: str
    action: str
    target: str
    detail: str


class AuditTrail:
    """Appends and reads."""

    def __init__(self, database: PeopleDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def record(self, actor: str, action: str, target: str = "", detail: str = "") -> None:
        """Appends a row of its own; done when it is on stable storage."""
        async with self._database.transaction() as connection:
            await self.append(connection, actor, action, target, detail)

    async def append(
        self, connection: aiosqlite.Connection, actor: str, action: str, target: str = "", detail: str = ""
    ) -> None:
        """Appends a row within somebody's transaction."""
        rows = list(await connection.execute_fetchall("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1"))
        last, before = (rows[0][0], bytes(rows[0][1])) if rows else (0, NOTHING_BEFORE)
        row = AuditRow(last + 1, self._clock.now_ms(), actor, action, target, detail[:DETAIL_LIMIT])
        await connection.execute(
            "INSERT INTO audit (id, at, actor, action, target, detail, hash) VALUES (?,?,?,?,?,?,?)",
            (*msgspec.structs.astuple(row), _hash(before, row)),
        )

    async def page(self, before: int | None, limit: int) -> list[AuditRow]:
        """The newest rows with an id below `before`, newest first."""
        rows = await self._database.rows(
            "SELECT id, at, actor, action, target, detail FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?",
            (before if before is not None else 1 << 62, limit),
        )
        return [AuditRow(*row) for row in rows]

    async def verify(self) -> list[str]:
        """Every break of the chain; empty where the trail is as it was written."""
        breaks: list[str] = []
        last, before = 0, NOTHING_BEFORE
        sql = "SELECT id, at, actor, action, target, detail, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?"
        while rows := await self._database.rows(sql, (last, CHECKED_AT_ONCE)):
            for *values, kept in rows:
                row = AuditRow(*values)
                if row.id != last + 1:
                    breaks.append(f"audit: rows {last + 1} to {row.id - 1} are missing")
                elif bytes(kept) != _hash(before, row):
                    breaks.append(f"audit: row {row.id} is not as it was written, or the one before it is not")
                last, before = row.id, bytes(kept)
        return breaks


def _hash(before: bytes, row: AuditRow) -> bytes:
    return hashlib.sha256(before + msgspec.json.encode(msgspec.structs.astuple(row))).digest()
