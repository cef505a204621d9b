"""Copies against ledger: every message has the copies it should have, and no copy is without message.

In: `mail.db` and `ledger.db`, read-only. Out: a sentence for each difference, at most `LIMIT`. Only what the ledger
says for sure is asked for: a mailbox's own deliveries and Sent copies. Members of a group may have changed since; what
a person deleted, and what stands in the Sent copy of another part of the same message, is recorded as absent.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from stormsail.directory.snapshot import WITH_COPIES, DirectorySnapshot
from stormsail.domain.ids import id_to_text
from stormsail.ledger.following import Followed, LedgerFollower
from stormsail.store import connect_reader

from .filing import folder_for, sent_author
from .opening import FILE

BATCH = 500
LIMIT = 200
HAVE = (
    "SELECT b.address, c.sent FROM copy c JOIN mailbox b ON b.id = c.mailbox_id WHERE c.message_id = ?"
    " UNION ALL"
    " SELECT b.address, a.sent FROM absent a JOIN mailbox b ON b.id = a.mailbox_id WHERE a.message_id = ?"
)
"""(mailbox, sent) of the copies, and of those that are rightly not there."""


def check_copies(data_dir: Path, ledger_path: Path, directory: DirectorySnapshot) -> list[str]:
    """The differences; none where all is well."""
    connection = connect_reader(data_dir / FILE)
    ledger = LedgerFollower(ledger_path)
    try:
        return [*_missing(connection, ledger, directory), *_without_message(connection, ledger)][:LIMIT]
    finally:
        ledger.close()
        connection.close()


def _missing(connection: sqlite3.Connection, ledger: LedgerFollower, directory: DirectorySnapshot) -> list[str]:
    """Messages up to the cursor whose rows or copies are not there; days that retention removed are passed over."""
    cursor = connection.execute("SELECT cursor FROM follower").fetchone()[0]
    first = connection.execute("SELECT min(id) FROM message").fetchone()[0]
    found: list[str] = []
    at = (first or cursor + 1) - 1
    while at < cursor and len(found) < LIMIT:
        batch = [one for one in ledger.after(at, BATCH) if one.message.id <= cursor]
        if not batch:
            break
        for followed in batch:
            found += _missing_of(connection, followed, directory)
        at = batch[-1].message.id
    return found


def _missing_of(connection: sqlite3.Connection, followed: Followed, directory: DirectorySnapshot) -> list[str]:
    number = followed.message.id
    known = connection.execute("SELECT 1 FROM message WHERE id = ?", (number,)).fetchone()
    if known is None:
        day_there = connection.execute("SELECT 1 FROM message WHERE day = ? LIMIT 1", (followed.message.body.day,))
        return [f"Message {id_to_text(number)} is not filed"] if day_there.fetchone() is not None else []
    have = {(row[0], bool(row[1])) for row in connection.execute(HAVE, (number, number))}
    return [
        f"Message {id_to_text(number)} has no {'Sent ' if sent else ''}copy in {mailbox}"
        for mailbox, sent in sorted(_expected(followed, directory) - have)
    ]


def _expected(followed: Followed, directory: DirectorySnapshot) -> set[tuple[str, bool]]:
    expected: set[tuple[str, bool]] = set()
    for delivery in followed.deliveries:
        entry = directory.entries.get(delivery.mailbox or "")
        if entry is not None and entry.kind in WITH_COPIES and folder_for(followed, delivery) is not None:
            expected.add((entry.address, False))
    author = sent_author(followed, directory)
    return expected | ({(author, True)} if author is not None else set())


def _without_message(connection: sqlite3.Connection, ledger: LedgerFollower) -> list[str]:
    sql = (
        "SELECT DISTINCT c.message_id FROM copy c LEFT JOIN message m ON m.id = c.message_id WHERE m.id IS NULL LIMIT ?"
    )
    found = [f"Copies of message {id_to_text(row[0])} have no row for it" for row in connection.execute(sql, (LIMIT,))]
    at = 0
    while len(found) < LIMIT:
        ids = [row[0] for row in connection.execute("SELECT id FROM message WHERE id > ? ORDER BY id LIMIT 500", (at,))]
        if not ids:
            break
        at = ids[-1]
        there = ledger.which_exist(ids)
        found += [f"Message {id_to_text(one)} has copies but is not in the ledger" for one in ids if one not in there]
    return found
