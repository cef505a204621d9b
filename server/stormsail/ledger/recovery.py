"""After a crash or a failed commit: what was safe gets its rows, what nobody carries on is due again (DESIGN §3.4)."""

from __future__ import annotations

import sqlite3
from contextlib import suppress

import msgspec
import structlog

from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.store import NEVER_TAKEN, BodyFiles, BodyRef, Note

from . import sql
from .values import Acceptance, Change

NOTE_DECODER = msgspec.msgpack.Decoder(tuple[Acceptance, BodyRef | None])
log = structlog.get_logger()


def replay(connection: sqlite3.Connection, bodies: BodyFiles) -> None:
    """Takes from the segments what was made durable there and did not reach the ledger before a crash.

    All of them are looked at, not only the latest days': the clock may have been wrong.
    """
    done = dict(connection.execute("SELECT day || '/' || file, upto FROM segment").fetchall())
    for day, file in bodies.files():
        upto = done.get(f"{day}/{file}", 0)
        if not file.startswith("s-") or bodies.size(day, file) <= upto:
            continue
        for note in bodies.notes(day, file, upto):
            if note.note and not known(connection, note.message_id):
                _take_from_segment(connection, note)
            upto = note.end
            sql.mark_segment(connection, day, file, upto)
        with suppress(OSError):
            bodies.end_after(day, file, upto)


def _take_from_segment(connection: sqlite3.Connection, note: Note) -> None:
    """One message; what the ledger will not take is set aside, so that the gateway starts with all others."""
    connection.execute("SAVEPOINT one")
    try:
        acceptance, ref = NOTE_DECODER.decode(note.note)
        sql.insert_acceptances(connection, [(acceptance, ref or note.ref)])
    except (msgspec.MsgspecError, *NEVER_TAKEN) as error:
        connection.execute("ROLLBACK TO one")
        log.error("message_set_aside", number=note.message_id, record=str(note.written), why=str(error))
    connection.execute("RELEASE one")


def known(connection: sqlite3.Connection, message_id: int) -> bool:
    return connection.execute("SELECT 1 FROM message WHERE id = ?", (message_id,)).fetchone() is not None


def requeue(connection: sqlite3.Connection, where: str, values: tuple[int, ...], now: int, *, marked: bool) -> None:
    """Attempts that nobody carries on: lost where they may have sent something, else simply due again."""
    rows = connection.execute(f"SELECT id FROM delivery WHERE state = 'active' AND {where}", values).fetchall()
    happened = DeliveryInput.LOSE_REPLY if marked else DeliveryInput.DEFER
    changes = [
        Change(row[0], DeliveryState.ACTIVE, happened, now, actor="restart", due_at=now, marked=marked) for row in rows
    ]
    sql.apply_changes(connection, changes)
