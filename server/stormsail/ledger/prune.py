"""Removing rows whose deliveries have been final for 400 days, a few at a time between batches (DESIGN §6)."""

from __future__ import annotations

import sqlite3

from stormsail.clock import MS_PER_DAY, Clock
from stormsail.domain.ids import first_id_at

from .ledger import UNCONFIRMED_KEPT_MS, Ledger
from .queries import OPEN_SQL

KEPT_MS = 400 * MS_PER_DAY
CHUNK = 200


async def prune(ledger: Ledger, clock: Clock) -> int:
    """Removes what is old enough; says how many messages."""
    oldest = clock.now_ms() - UNCONFIRMED_KEPT_MS
    await ledger.call(lambda connection: connection.execute("DELETE FROM unconfirmed WHERE at < ?", (oldest,)).rowcount)
    limit = first_id_at(clock.now_ms() - KEPT_MS)
    removed = 0
    while limit > 0:
        count: int = await ledger.call(lambda connection: _prune_chunk(connection, limit))
        removed += count
        if count < CHUNK:
            break
    return removed


def _prune_chunk(connection: sqlite3.Connection, limit: int) -> int:
    old = connection.execute(
        "SELECT m.id, m.recipients FROM message m WHERE m.id < ? AND NOT EXISTS"
        f" (SELECT 1 FROM delivery d WHERE d.id > m.id AND d.id <= m.id + m.recipients AND d.state IN {OPEN_SQL})"
        " ORDER BY m.id LIMIT ?",
        (limit, CHUNK),
    ).fetchall()
    for number, recipients in old:
        first, last = number + 1, number + recipients
        for state, count in connection.execute(
            "SELECT state, count(*) FROM delivery WHERE id BETWEEN ? AND ? GROUP BY state", (first, last)
        ).fetchall():
            connection.execute("UPDATE tally SET deliveries = deliveries - ? WHERE state = ?", (count, state))
        connection.execute("DELETE FROM transition WHERE delivery_id BETWEEN ? AND ?", (first, last))
        connection.execute("DELETE FROM delivery WHERE id BETWEEN ? AND ?", (first, last))
        connection.execute("DELETE FROM message WHERE id = ?", (number,))
    return len(old)
