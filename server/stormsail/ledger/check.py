"""`ledger check`: proves that the ledger adds up and that every message's bytes are what was written.

Works on a read-only connection in a thread; takes as long as reading all bodies does. Each difference is one line.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from stormsail.domain.ids import id_to_text
from stormsail.domain.states import FINAL
from stormsail.store import BodyDamaged, BodyFiles, BodyRef, connect_reader

SECOND_LOOK_S = 1.0
PAGE = 1000
FINAL_SQL = ", ".join(f"'{state}'" for state in sorted(FINAL))


def check_ledger(path: Path, bodies: BodyFiles) -> list[str]:
    """All differences; empty where the invariants of DESIGN §2 and §3 hold.

    No look at the ledger lasts longer than one statement or two: its repair has to wait for readers to end.
    """
    connection = connect_reader(path)
    try:
        problems = [
            *_check_tally(connection),
            *_check_recipients(connection),
            *_check_moves(connection),
            *_check_held(connection),
            *_check_bodies(connection, bodies),
        ]
    finally:
        connection.close()
    return problems + _check_files(path, bodies)


def _check_tally(connection: sqlite3.Connection) -> list[str]:
    """Accepted is the sum of all states, counted and kept in step."""
    connection.execute("BEGIN")
    counted = dict(connection.execute("SELECT state, count(*) FROM delivery GROUP BY state").fetchall())
    kept = dict(connection.execute("SELECT state, deliveries FROM tally WHERE deliveries != 0").fetchall())
    connection.execute("COMMIT")
    return [
        f"state {state}: {counted.get(state, 0)} deliveries, the tally says {kept.get(state, 0)}"
        for state in sorted(counted.keys() | kept.keys())
        if counted.get(state, 0) != kept.get(state, 0)
    ]


def _check_recipients(connection: sqlite3.Connection) -> list[str]:
    """Every message has a delivery for each of its recipients, and every delivery a message."""
    wrong = connection.execute(
        "SELECT m.id, m.recipients, count(d.id) FROM message m"
        " LEFT JOIN delivery d ON d.id > m.id AND d.id <= m.id + m.recipients AND d.message_id = m.id"
        " GROUP BY m.id HAVING count(d.id) != m.recipients"
    ).fetchall()
    lost = connection.execute(
        "SELECT d.id FROM delivery d LEFT JOIN message m ON m.id = d.message_id WHERE m.id IS NULL"
    ).fetchall()
    return [
        *(f"message {id_to_text(row[0])}: {row[1]} recipients, {row[2]} deliveries" for row in wrong),
        *(f"delivery {id_to_text(row[0])}: there is no message" for row in lost),
    ]


def _check_moves(connection: sqlite3.Connection) -> list[str]:
    """A final state is never left, and the last move is where the delivery is."""
    left = connection.execute(
        "SELECT t.delivery_id, t.state FROM transition t WHERE t.state IN (" + FINAL_SQL + ")"
        " AND EXISTS (SELECT 1 FROM transition later WHERE later.delivery_id = t.delivery_id AND later.id > t.id)"
    ).fetchall()
    astray = connection.execute(
        "SELECT d.id, d.state, t.state FROM delivery d JOIN transition t ON t.id ="
        " (SELECT max(id) FROM transition WHERE delivery_id = d.id) WHERE t.state != d.state"
    ).fetchall()
    return [
        *(f"delivery {id_to_text(row[0])}: left the final state {row[1]}" for row in left),
        *(f"delivery {id_to_text(row[0])}: is {row[1]}, its last move says {row[2]}" for row in astray),
    ]


def _check_held(connection: sqlite3.Connection) -> list[str]:
    """What an event holds is handed back by its end; a closed one has nobody who would."""
    stuck = connection.execute(
        "SELECT d.id, e.id FROM event e JOIN delivery d ON d.kept_by = e.id AND d.state = 'held'"
        " WHERE e.state = 'closed' ORDER BY d.id"
    ).fetchall()
    return [f"delivery {id_to_text(row[0])}: held by the closed event {id_to_text(row[1])}" for row in stuck]


def _check_bodies(connection: sqlite3.Connection, bodies: BodyFiles) -> list[str]:
    """Every message's bytes are there and are those that were written."""
    problems: list[str] = []
    at = 0
    last = connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()[0]
    page = "SELECT id, day, file, offset, size FROM message WHERE id > ? AND id <= ? ORDER BY id LIMIT ?"
    while rows := connection.execute(page, (at, last, PAGE)).fetchall():
        problems += _damaged(rows, bodies)
        at = rows[-1][0]
    return problems


def _damaged(rows: list[tuple[int, str, str, int, int]], bodies: BodyFiles) -> list[str]:
    problems: list[str] = []
    days = set(bodies.days())
    for number, day, file, offset, size in rows:
        if day not in days:
            continue  # beyond retention: the day's folder is gone as a whole, the ledger's rows stay longer
        try:
            bodies.read(BodyRef(day, file, offset, size))
        except BodyDamaged as error:
            if day in bodies.days():
                problems.append(f"message {id_to_text(number)}: {error.sentence}")
    return problems


def _check_files(path: Path, bodies: BodyFiles) -> list[str]:
    """Every file of one message has its row; a message just coming in has its file a moment before."""
    suspects = orphans(path, bodies)
    if suspects:
        time.sleep(SECOND_LOOK_S)
        suspects = sorted(set(suspects) & set(orphans(path, bodies)))
    return [f"file {day}/{file}: no message of the ledger is in it" for day, file in suspects]


def orphans(path: Path, bodies: BodyFiles) -> list[tuple[str, str]]:
    """Files of one message each that no row names: left by a crash between the file and its commit."""
    single = [(day, file) for day, file in bodies.files() if file.startswith("m-")]
    if not single:
        return []
    connection = connect_reader(path)
    try:
        named = set(connection.execute("SELECT day, file FROM message WHERE file LIKE 'm-%'").fetchall())
    finally:
        connection.close()
    return [place for place in single if place not in named]
