"""Everything the filer's thread writes to, opened together: `mail.db`, the search databases, the ledger to follow.

In: the data directory. Out: one object that only that thread uses, with transactions that undo what is in memory too.
Raises what opening.open_mail raises.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stormsail.clock import Clock
from stormsail.ledger.following import LedgerFollower
from stormsail.store import BodyFiles

from .boxes import Boxes
from .copies import Copies
from .index import SearchIndex, search_days
from .opening import close_mail, open_mail
from .values import CopyChange


class MailFile:
    """The filer's connections and what it holds in memory of them. `tell` gets the changes of each commit."""

    def __init__(
        self,
        data_dir: Path,
        ledger_path: Path,
        bodies: BodyFiles,
        clock: Clock,
        tell: Callable[[list[CopyChange]], None],
    ) -> None:
        self.data_dir = data_dir
        self.bodies = bodies
        self.clock = clock
        self.ledger = LedgerFollower(ledger_path)
        opened = open_mail(data_dir, self.ledger, bodies, clock)
        self.connection = opened.connection
        self.boxes = Boxes(self.connection, opened.uidvalidity)
        self.copies = Copies(self.connection, self.boxes)
        self.index = SearchIndex(data_dir)
        self._tell = tell
        if opened.fresh:
            for day in search_days(data_dir):
                self.index.drop(day)

    @contextmanager
    def transaction(self) -> Iterator[list[CopyChange]]:
        """One transaction; what is put into the list is told once it is durable, and nothing where it fails."""
        changes: list[CopyChange] = []
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield changes
            self.connection.execute("COMMIT")
        except BaseException:
            self.undo()
            raise
        if changes:
            self._tell(changes)

    def undo(self) -> None:
        """After a failure: back to what is in the database."""
        self.boxes.forget()
        if self.connection.in_transaction:
            try:
                self.connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                # SQLite has rolled back by itself, as it does on a full disk.
                return

    def cursor(self) -> int:
        """The last message of the ledger that has its copies."""
        return int(self.connection.execute("SELECT cursor FROM follower").fetchone()[0])

    def close(self) -> None:
        self.index.close()
        close_mail(self.connection)
        self.ledger.close()
