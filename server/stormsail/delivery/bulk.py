"""Moves of many deliveries at once, in chunks, so that no 250 waits for an operator's bulk order."""

from __future__ import annotations

import sqlite3

from stormsail.clock import Clock
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change, Ledger, QueueFilter
from stormsail.ledger.sql import apply_changes

CHUNK = 500


async def move_all(
    ledger: Ledger, clock: Clock, chosen: QueueFilter, happened: DeliveryInput, actor: str, except_events: set[int]
) -> int:
    """Moves every chosen delivery that may move so; those kept by one of `except_events` stay. Gives the count."""
    moved, after = 0, 0
    while True:
        now = clock.now_ms()

        def chunk(connection: sqlite3.Connection, after: int = after, now: int = now) -> tuple[int, int | None]:
            return _move_chunk(connection, chosen, happened, actor, except_events, after, now)

        answer: tuple[int, int | None] = await ledger.call(chunk)
        count, last = answer
        moved += count
        if last is None:
            return moved
        after = last


def _move_chunk(
    connection: sqlite3.Connection,
    chosen: QueueFilter,
    happened: DeliveryInput,
    actor: str,
    except_events: set[int],
    after: int,
    now: int,
) -> tuple[int, int | None]:
    """How many were moved, and the id to go on behind; None at the end."""
    condition, values = chosen.where(now)
    rows = connection.execute(
        f"SELECT d.id, d.state, d.kept_by FROM delivery d JOIN message m ON m.id = d.message_id"
        f" WHERE {condition} AND d.id > ? ORDER BY d.id LIMIT {CHUNK}",
        [*values, after],
    ).fetchall()
    due = now if happened in (DeliveryInput.RELEASE, DeliveryInput.RETRY) else None
    changes = [
        Change(row[0], DeliveryState(row[1]), happened, now, actor=actor, due_at=due)
        for row in rows
        if row[2] not in except_events
    ]
    return sum(apply_changes(connection, changes)), rows[-1][0] if len(rows) == CHUNK else None
