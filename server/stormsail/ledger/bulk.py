"""A move of many deliveries, a chunk at a time."""

from __future__ import annotations

import sqlite3

import msgspec

from stormsail.domain.states import DeliveryInput, DeliveryState

from .queries import QueueFilter
from .sql import apply_changes
from .values import Change

CHUNK = 500


class MoveMany(msgspec.Struct, frozen=True):
    """What happens to every chosen delivery that may move so; those kept by one of `except_events` stay."""

    chosen: QueueFilter
    happened: DeliveryInput
    actor: str
    except_events: set[int]


def move_chunk(connection: sqlite3.Connection, many: MoveMany, after: int, now: int) -> tuple[int, int | None]:
    """How many of the next were moved, and the id to go on behind; None at the end."""
    condition, values = many.chosen.where(now)
    rows = connection.execute(
        f"SELECT d.id, d.state, d.kept_by FROM delivery d JOIN message m ON m.id = d.message_id"
        f" WHERE {condition} AND d.id > ? ORDER BY d.id LIMIT {CHUNK}",
        [*values, after],
    ).fetchall()
    due = now if many.happened in (DeliveryInput.RELEASE, DeliveryInput.RETRY) else None
    changes = [
        Change(row[0], DeliveryState(row[1]), many.happened, now, actor=many.actor, due_at=due)
        for row in rows
        if row[2] not in many.except_events
    ]
    return sum(apply_changes(connection, changes)), rows[-1][0] if len(rows) == CHUNK else None
