"""The ledger's statements for continuity events."""

from __future__ import annotations

import sqlite3

from stormsail.domain.scope import parse_scope

from .values import EventRow

COLUMNS = "id, scope, reason, state, started_at, started_by, ended_at, ended_by, closed_at, paused"


def insert_event(connection: sqlite3.Connection, event: EventRow) -> None:
    """A new event with the first line of its timeline."""
    connection.execute(f"INSERT INTO event ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", _values(event))
    insert_entry(connection, event.id, event.started_at, "activated", event.started_by, event.reason)


def update_event(connection: sqlite3.Connection, event: EventRow, kind: str, actor: str, detail: str, at: int) -> None:
    """The event's new row, and the line that says what happened."""
    connection.execute(f"REPLACE INTO event ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?)", _values(event))
    insert_entry(connection, event.id, at, kind, actor, detail)


def close_event(connection: sqlite3.Connection, event: EventRow, detail: str, at: int) -> bool:
    """The same for an event that has handed back everything; False, and nothing done, while it holds a delivery."""
    holds = connection.execute("SELECT 1 FROM delivery WHERE kept_by = ? AND state = 'held' LIMIT 1", (event.id,))
    if holds.fetchone() is not None:
        return False
    update_event(connection, event, "closed", "gateway", detail, at)
    return True


def insert_entry(connection: sqlite3.Connection, event_id: int, at: int, kind: str, actor: str, detail: str) -> None:
    """A line of the timeline."""
    connection.execute(
        "INSERT INTO event_entry (event_id, at, kind, actor, detail) VALUES (?,?,?,?,?)",
        (event_id, at, kind, actor, detail),
    )


def _values(event: EventRow) -> tuple[object, ...]:
    return (event.id, str(event.scope), event.reason, event.state, event.started_at, event.started_by) + (
        event.ended_at,
        event.ended_by,
        event.closed_at,
        int(event.paused),
    )


def event_from(row: sqlite3.Row) -> EventRow:
    """The event in a row of `COLUMNS`."""
    scope = parse_scope(row["scope"])
    return EventRow(
        row["id"],
        scope,
        row["reason"],
        row["state"],
        row["started_at"],
        row["started_by"],
        row["ended_at"],
        row["ended_by"],
        row["closed_at"],
        bool(row["paused"]),
    )
