"""The ledger's writing side: accepts, moves of deliveries, events. Everything goes through the one writer.

In: acceptances, changes, event moves. Out: futures that are done when the rows are on stable storage. Fails with
OutcomeUnknown where a commit may have happened, StorageFull where there is no room, TemporaryError otherwise.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import structlog

from stormsail.clock import Clock
from stormsail.domain.errors import StoreError, StormsailError, TakenOver
from stormsail.domain.ids import IdGenerator
from stormsail.domain.states import DeliveryInput
from stormsail.store import (
    BUSY_MS,
    BodyFiles,
    BodyRef,
    EpochMark,
    Job,
    Writer,
    begin_log_anew,
    connect_writer,
    execute_rows,
    migrate,
)

from . import events, sql
from .jobs import AcceptJob, CallJob, ChangeJob, leave_out
from .recovery import known, replay, requeue
from .values import Acceptance, Change, EventRow
from .wal import WAL_LIMIT, wal_size

MIGRATIONS = Path(__file__).parent / "migrations"
UNCONFIRMED_KEPT_MS = 5 * 86_400_000
TIDY_EVERY = 256
TIDY_WAIT_MS = 50
"""For readers of an old state of the ledger; batches wait meanwhile."""
CONFIRM_S = 0.05
TAKEN_OVER = "Another gateway has taken over this data directory"
log = structlog.get_logger()


class Ledger:
    """Opens `ledger.db` with a new epoch. `start` before use, `stop` (blocking) at the end."""

    def __init__(self, data_dir: Path, bodies: BodyFiles, clock: Clock, on_fatal: Callable[[StoreError], None]) -> None:
        self.path = data_dir / "ledger.db"
        self.bodies = bodies
        self._clock = clock
        self._epoch = 0
        self._mark = EpochMark(data_dir)
        self._batches = 0
        self._confirmed: deque[tuple[bytes, int]] = deque()
        self._confirming: list[tuple[bytes, int]] = []
        self._inserted = 0
        self._unconfirmed: list[tuple[bytes, int]] = []
        self.on_recovered: Callable[[list[tuple[bytes, int]]], None] = lambda unconfirmed: None
        """Called on the loop after a commit of unknown outcome was cleared up, with the table `unconfirmed`."""
        self.on_recorded: Callable[[list[Acceptance]], None] = lambda acceptances: None
        """Called on the loop when accepted messages have their rows, some milliseconds after their 250."""
        self._prepare()
        self.writer = Writer(self, bodies, clock, on_fatal)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self.writer.start(loop)

    def stop(self) -> None:
        self.writer.stop()

    # ── called on the loop ──

    def reserve(self, recipients: int) -> int:
        """An id for a message with so many deliveries. Accept it before awaiting anything: ids are commit order."""
        first = self._ids.next(self._clock.now_ms())
        for _ in range(recipients):
            self._ids.next(0)
        return first

    def accept(
        self,
        acceptance: Acceptance,
        content: bytes | None,
        ref: BodyRef | None,
        settled: Callable[[BodyRef | None], None],
        failed: Callable[[StormsailError], None],
        changes: list[Change],
    ) -> None:
        """Keeps a message: its bytes are `content`, or lie durable at `ref` already.

        One of the two is called on the loop: `settled` with where the bytes are, or `failed`. `changes` are done in
        the same commit; if none of them is possible any more, the message is not kept and `settled` gets None (a
        notice that was written already).
        """
        job = AcceptJob(acceptance, content, ref, changes)
        job.settled = settled
        job.failed = failed
        self.writer.put(job)

    def confirm(self, hashes: Sequence[tuple[bytes, int]]) -> None:
        """The peer has seen its 250: (fingerprint, message id) are no repeats any more.

        Written with the next batch, at the latest after `CONFIRM_S`; one that is lost in a crash only means that an
        equal message would be taken for a repeat.
        """
        if not self._confirmed:
            asyncio.get_running_loop().call_later(CONFIRM_S, self._write_confirmed)
        self._confirmed.extend(hashes)

    def _write_confirmed(self) -> None:
        if self._confirmed:
            self.writer.submit(CallJob(lambda connection: None)).add_done_callback(_forget)

    def change(
        self, changes: list[Change], settled: Callable[[list[bool]], None] | None = None
    ) -> asyncio.Future[list[bool]]:
        """Moves deliveries; says for each whether it was still in the expected state.

        `settled` is called with that even if nobody waits for the future any more: who claims, must not lose a claim.
        """
        job = ChangeJob(changes)
        job.settled = settled
        return self.writer.submit(job)

    def call(self, work: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Runs rare work inside a batch's transaction, such as starting an event or a bulk move."""
        return self.writer.submit(CallJob(work))

    async def verify_ownership(self) -> None:
        """Returns only if this gateway still owns the ledger; the commit itself checks the epoch."""
        await self.call(lambda connection: None)

    async def start_event(self, event: EventRow) -> None:
        await self.call(lambda connection: events.insert_event(connection, event))

    async def update_event(self, event: EventRow, kind: str, actor: str, detail: str, at: int) -> None:
        """Replaces the event's row and adds a line to its timeline."""
        await self.call(lambda connection: events.update_event(connection, event, kind, actor, detail, at))

    async def close_event(self, event: EventRow, detail: str, at: int) -> bool:
        """Closes an event if it holds nothing; what was accepted for it earlier has its rows by then."""
        closed: bool = await self.call(lambda connection: events.close_event(connection, event, detail, at))
        return closed

    async def remember(self, primary: str, fact: str, value: str) -> None:
        """Keeps something learnt of a primary."""
        row = (primary, fact, value, self._clock.now_ms())
        await self.call(
            lambda connection: (
                connection.execute(
                    "INSERT OR REPLACE INTO primary_fact (name, fact, value, at) VALUES (?,?,?,?)", row
                ).rowcount
            )
        )

    # ── called by the writer's threads ──

    def open(self) -> sqlite3.Connection:
        """A connection whose database holds everything older than itself durably.

        Raises DatabaseBusy while somebody reads: behind pages of the log whose sync failed nothing may be written.
        """
        connection = connect_writer(self.path, full=True, autocheckpoint=False)
        try:
            begin_log_anew(connection, "TRUNCATE", BUSY_MS)
            self.check_owner(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def check_still_ours(self) -> None:
        """Raises TakenOver where another gateway has taken over."""
        if self._mark.read() != self._epoch:
            raise TakenOver(TAKEN_OVER)

    def check_owner(self, connection: sqlite3.Connection) -> None:
        """Raises TakenOver where another gateway has taken over."""
        row = connection.execute("SELECT epoch FROM owner").fetchone()
        if row is None or row[0] != self._epoch:
            raise TakenOver(TAKEN_OVER)

    def apply(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """One batch, inside its transaction. Raises TakenOver where another gateway has taken over."""
        self.check_owner(connection)
        accepts = [job for job in jobs if isinstance(job, AcceptJob)]
        self._inserted = max([self._inserted, *(job.acceptance.id for job in accepts)])
        confirmed = self._take_confirmed()
        leave_out(confirmed, accepts)
        self._insert(connection, [job for job in accepts if not job.changes])
        for notice in accepts:
            if notice.changes:
                possible = any(sql.apply_changes(connection, notice.changes))
                self._insert(connection, [notice] if possible else [])
                notice.result = notice.ref if possible else None
        self._mark_segments(connection, accepts)
        execute_rows(connection, sql.DELETE_UNCONFIRMED, list(confirmed))
        self._apply_changes(connection, [job for job in jobs if isinstance(job, ChangeJob)])
        for other in jobs:
            if isinstance(other, CallJob):
                other.result = other.call(connection)

    @staticmethod
    def _insert(connection: sqlite3.Connection, jobs: Sequence[AcceptJob]) -> None:
        if jobs:
            sql.insert_acceptances(connection, [(job.acceptance, cast("BodyRef", job.ref)) for job in jobs])

    @staticmethod
    def _mark_segments(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Up to where each segment is in the ledger now: the end of the last record in it."""
        ends = {(job.record.day, job.record.file): job.record.end for job in jobs if job.record is not None}
        for (day, file), upto in ends.items():
            sql.mark_segment(connection, day, file, upto)

    def reconcile(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Job]:
        """Which safe messages are not in the ledger yet; a notice that is there after all waits for its delivery."""
        missing: list[Job] = []
        connection.execute("BEGIN IMMEDIATE")
        now = self._clock.now_ms()
        for job in jobs:
            if isinstance(job, ChangeJob):
                # Whoever claimed these was told that it is not known: nobody carries them on.
                for change in job.changes:
                    if change.happened is DeliveryInput.START:
                        requeue(connection, "id = ?", (change.delivery_id,), now, marked=False)
            if not isinstance(job, AcceptJob):
                continue
            number, count = job.acceptance.id, len(job.acceptance.deliveries)
            there = known(connection, number)
            if job.note and not there:
                missing.append(job)
            elif not job.note and there:
                requeue(connection, "id > ? AND id <= ?", (number, number + count), now, marked=False)
        connection.execute("COMMIT")
        rows = connection.execute("SELECT hash, message_id FROM unconfirmed").fetchall()
        self._unconfirmed = [(bytes(row[0]), row[1]) for row in rows]
        return missing

    def tidy(self, connection: sqlite3.Connection) -> bool:
        """Between batches: starts the log anew when it has grown large though it was copied in the background.

        True where the log is as it should be, False where it was not looked at. Raises DatabaseBusy.
        """
        self._confirming = []
        self._batches += 1
        if self._batches % TIDY_EVERY:
            return False
        if wal_size(self.path) > WAL_LIMIT:
            begin_log_anew(connection, "RESTART", TIDY_WAIT_MS)
        return True

    def recorded(self, jobs: Sequence[Job]) -> None:
        """On the loop: who follows the ledger finds new messages."""
        kept = [job.acceptance for job in jobs if isinstance(job, AcceptJob) and job.error is None and job.result]
        if kept:
            self.on_recorded(kept)

    def recovered(self) -> None:
        """On the loop again: who keeps `unconfirmed` or the schedule in memory has to look anew."""
        confirmed = {*self._confirmed, *self._confirming}
        self.on_recovered([pair for pair in self._unconfirmed if pair not in confirmed])

    def _take_confirmed(self) -> set[tuple[bytes, int]]:
        """Confirmations of messages that have their rows or get them now; those of a batch not committed once more."""
        waiting = [self._confirmed.popleft() for _ in range(len(self._confirmed))]
        self._confirmed.extend(pair for pair in waiting if pair[1] > self._inserted)
        self._confirming += [pair for pair in waiting if pair[1] <= self._inserted]
        return set(self._confirming)

    @staticmethod
    def _apply_changes(connection: sqlite3.Connection, jobs: Sequence[ChangeJob]) -> None:
        if not jobs:
            return
        outcome = sql.apply_changes(connection, [change for job in jobs for change in job.changes])
        at = 0
        for job in jobs:
            job.result = outcome[at : at + len(job.changes)]
            at += len(job.changes)

    def _prepare(self) -> None:
        """Migrates, takes a new epoch, and makes attempts of an earlier life outcome_unknown."""
        try:
            connection = connect_writer(self.path, full=True)
            migrate(connection, MIGRATIONS)
        except sqlite3.DatabaseError as error:
            raise StoreError(f"The ledger {self.path} cannot be used: {error}") from error
        now = self._clock.now_ms()
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO owner (one, epoch, since, process) VALUES (1, 1, ?, ?)"
            " ON CONFLICT (one) DO UPDATE SET epoch = epoch + 1, since = excluded.since, process = excluded.process",
            (now, str(os.getpid())),
        )
        self._epoch = connection.execute("SELECT epoch FROM owner").fetchone()[0]
        connection.execute("COMMIT")
        self._mark.write(self._epoch)
        # Only now nobody can answer 250 any more for what comes into a segment behind our back.
        connection.execute("BEGIN IMMEDIATE")
        replay(connection, self.bodies)
        self._inserted = connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()[0]
        requeue(connection, "1", (), now, marked=True)
        connection.execute("DELETE FROM unconfirmed WHERE at < ?", (now - UNCONFIRMED_KEPT_MS,))
        connection.execute("COMMIT")
        last = connection.execute(
            "SELECT max(coalesce((SELECT max(id) FROM message), 0), coalesce((SELECT max(id) FROM delivery), 0),"
            " coalesce((SELECT max(id) FROM event), 0))"
        ).fetchone()[0]
        self._ids = IdGenerator(last)
        connection.close()


def _forget(future: asyncio.Future[Any]) -> None:
    """Nobody waits for a confirmation; its failure was told to those whose mail was in the same batch."""
    if not future.cancelled():
        future.exception()
