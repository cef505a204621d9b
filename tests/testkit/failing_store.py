"""A backend for the writer with one table, whose commits, statements and openings fail when a test says so.

A commit that fails may have happened after all: that is the test's choice, as it is the disk's in reality.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stormsail.domain.errors import TakenOver
from stormsail.store import DatabaseBusy, Job


class Work(Job):
    """A row to be added; `note` makes it a message that is safe before its row is there."""

    __slots__ = ("row",)

    def __init__(self, row: int | str, content: bytes | None = None, note: bytes = b"") -> None:
        super().__init__(content, row if isinstance(row, int) else 0, note)
        self.row = row


class Store:
    """The backend. Counts everything; `fail` orders failures."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = 0
        self.recoveries = 0
        self.told: list[list[int | str]] = []
        self.failing_commits = 0
        self.happened_all_the_same = False
        self.failing_opens = 0
        self.busy_opens = 0
        self.failing_statements: list[Exception] = []
        self.faults: dict[int | str, Exception] = {}
        """What adding a row raises, whenever it is tried."""
        self.taken_over = False
        self.gate: threading.Event | None = None
        """Where set, each transaction waits for it before it begins."""
        connection = sqlite3.connect(path)
        connection.executescript("PRAGMA journal_mode=WAL; CREATE TABLE work (row INTEGER PRIMARY KEY) STRICT;")
        connection.close()

    def rows(self) -> list[int]:
        connection = sqlite3.connect(self.path)
        try:
            return [row[0] for row in connection.execute("SELECT row FROM work ORDER BY row")]
        finally:
            connection.close()

    # ── Backend ──

    def open(self) -> sqlite3.Connection:
        if self.busy_opens:
            self.busy_opens -= 1
            raise DatabaseBusy("Somebody reads the database")
        if self.failing_opens:
            self.failing_opens -= 1
            raise sqlite3.OperationalError("disk I/O error")
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, factory=_Connection)
        connection.store = self
        return connection

    def check_still_ours(self) -> None:
        if self.taken_over:
            raise TakenOver("Another gateway has taken over")

    def apply(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        self.check_still_ours()
        if self.failing_statements:
            raise self.failing_statements.pop(0)
        for job in jobs:
            assert isinstance(job, Work)
            if job.row in self.faults:
                raise self.faults[job.row]
            connection.execute("INSERT INTO work (row) VALUES (?)", (job.row,))
            job.result = job.result or job.row

    def reconcile(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Job]:
        there = set(self.rows())
        return [job for job in jobs if isinstance(job, Work) and job.note and job.row not in there]

    def tidy(self, connection: sqlite3.Connection) -> bool:
        return True

    def recorded(self, jobs: Sequence[Job]) -> None:
        self.told.append([job.row for job in jobs if isinstance(job, Work)])

    def recovered(self) -> None:
        self.recoveries += 1


class _Connection(sqlite3.Connection):
    store: Store

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql == "BEGIN IMMEDIATE" and self.store.gate is not None:
            assert self.store.gate.wait(20)
        if sql == "COMMIT":
            self.store.commits += 1
            if self.store.failing_commits:
                self.store.failing_commits -= 1
                super().execute("COMMIT" if self.store.happened_all_the_same else "ROLLBACK")
                raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)
