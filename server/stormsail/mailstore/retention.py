"""Retention by day: copies, text and bodies of one old day go together (DESIGN §6).

In: how many days are kept. Out: at most one day removed a run, in steps that let other work through; the copies' UIDs
stay recorded as gone. Never a day with an open delivery, a draft, or mail held by an event that is not closed; never
while the follower is behind. That the clock can be believed is the caller's business (DESIGN §3.16).
"""

from __future__ import annotations

import structlog

from stormsail.clock import MS_PER_DAY, to_day

from .filer import Filer
from .index import search_days
from .opening import day_start_ms
from .values import DRAFTS

AT_ONCE = 1_000
COPIES_OF_DAY = (
    "SELECT c.id FROM message m CROSS JOIN copy c ON c.message_id = m.id WHERE m.day = ? ORDER BY m.state, m.id LIMIT ?"
)
DRAFT_ON_DAY = (
    "SELECT 1 FROM folder f CROSS JOIN copy c ON c.folder_id = f.id CROSS JOIN message m ON m.id = c.message_id"
    " WHERE f.name = ? AND m.day = ? LIMIT 1"
)


def day_to_remove(filer: Filer, days: int) -> str | None:
    """The oldest day that may go; None where none may."""
    file = filer.file
    if file.ledger.count_after(file.cursor())[0]:
        return None
    kept_from = to_day(file.clock.now_ms() - days * MS_PER_DAY)
    for day in sorted({*file.bodies.days(), *search_days(file.data_dir)}):
        start = day_start_ms(day)
        if day >= kept_from:
            return None
        if start == 0 or file.ledger.day_is_needed(day, start + MS_PER_DAY):
            continue
        if file.connection.execute(DRAFT_ON_DAY, (DRAFTS, day)).fetchone() is None:
            return day
    return None


def remove_some(filer: Filer, day: str) -> bool:
    """Removes some of the day's copies. True where there are more."""
    file = filer.file
    ids = [row[0] for row in file.connection.execute(COPIES_OF_DAY, (day, AT_ONCE))]
    with file.transaction() as changes:
        changes += file.copies.remove(ids, by_person=False)
    return len(ids) == AT_ONCE


def remove_rest(filer: Filer, day: str) -> None:
    """The day's message rows, its text and its bodies; after a crash in between the next run goes on here."""
    file = filer.file
    with file.transaction():
        ids = "SELECT id FROM message WHERE day = ?"
        file.connection.execute(f"DELETE FROM absent WHERE message_id IN ({ids})", (day,))
        file.connection.execute("DELETE FROM message WHERE day = ?", (day,))
    file.index.drop(day)
    if day in file.bodies.days():
        file.bodies.unlink_day(day)
    structlog.get_logger(__name__).info("day_removed", day=day)
