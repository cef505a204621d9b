"""Making good what search databases have lost: a day at a time after every start, and when one is found broken.

In: `mail.db`, which knows what was digested. Out: messages marked as unprepared again, so that the children make
their text anew. A power cut may take the tail of a search database, which is synced lazily for that reason.
"""

from __future__ import annotations

import structlog

from .index import DayLost, search_path
from .mailfile import MailFile
from .preparing import Preparing
from .values import CopyState

AT_ONCE = 5_000


class Mending:
    """Goes through the days, the newest first; `step` does a little and belongs to the filer's thread."""

    def __init__(self, file: MailFile, preparing: Preparing) -> None:
        self._file = file
        self._preparing = preparing
        self._days = _days_of(file)
        self._missing: list[int] = []

    def step(self) -> bool:
        """Looks at one day, or goes on with one. True where there is more to do."""
        if self._missing:
            self._prepare_again()
        elif self._days:
            self._look_at(self._days.pop())
        return bool(self._missing or self._days)

    def report_broken(self, day: str, inode: int) -> None:
        """A reader found the day's database broken: it goes, unless it has been made anew since."""
        path = search_path(self._file.data_dir, day)
        if path.exists() and path.stat().st_ino == inode:
            self._file.index.drop(day)
            self._preparing.day_lost(day)

    def _look_at(self, day: str) -> None:
        known = "SELECT count(*) FROM message WHERE day = ? AND state != 'preparing'"
        expected = self._file.connection.execute(known, (day,)).fetchone()[0]
        try:
            if self._file.index.count(day) >= expected:
                return
            done = self._file.index.ids(day)
        except DayLost:
            self._preparing.day_lost(day)
            return
        rows = self._file.connection.execute("SELECT id FROM message WHERE day = ? AND state != 'preparing'", (day,))
        self._missing = [row[0] for row in rows if row[0] not in done]
        structlog.get_logger(__name__).warning("search_db_behind", day=day, missing=len(self._missing))

    def _prepare_again(self) -> None:
        batch = self._missing[-AT_ONCE:]
        with self._file.transaction():
            self._file.connection.executemany(
                "UPDATE message SET state = ? WHERE id = ?", [(CopyState.PREPARING, number) for number in batch]
            )
        del self._missing[-AT_ONCE:]
        self._preparing.walk_again()


def _days_of(file: MailFile) -> list[str]:
    """The days that have messages, the newest last; found by jumping through the index."""
    days: list[str] = []
    day = ""
    while True:
        day = file.connection.execute("SELECT min(day) FROM message WHERE day > ?", (day,)).fetchone()[0]
        if day is None:
            return days
        days.append(day)
