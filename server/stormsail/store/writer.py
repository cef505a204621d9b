"""The writer: the way of everything durable of the ledger (DESIGN §3.1, §6).

The journal makes messages safe: their records, with all that the ledger has to know, are durable in a segment; then
their 250s. The ledger's thread follows within `RECORD_S` with one transaction for many of them; changes of state are
done when that transaction is durable. Jobs keep their order throughout.

A commit that fails has an unknown outcome: those who wait for a change are told so, no mail is taken, the database is
opened anew and reconciled; messages that were answered 250 stay in hand until they are recorded.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog

from stormsail.clock import Clock
from stormsail.domain.errors import (
    UNKNOWN_FAILURE,
    OutcomeUnknown,
    StorageFull,
    StoreError,
    StormsailError,
    TakenOver,
    TemporaryError,
)

from .bodies import BodyFiles
from .database import DatabaseBusy
from .job import Job, settle_all
from .journal import Journal

RECORD_S = 0.05
"""How long a message that is safe in its segment may be unknown to the ledger."""
RECORD_JOBS = 512
REOPEN_PAUSE_S = 1.0
LOG_GROWS = "The log could not be started anew"
log = structlog.get_logger()
NEVER_TAKEN = (sqlite3.IntegrityError, OverflowError, ValueError, TypeError)
"""What the ledger says of a row that it will not take, however often it is asked."""
REFUSALS = (sqlite3.Error, OverflowError, ValueError, TypeError)


class Backend(Protocol):
    """The SQL side: the ledger in production, a failing one in tests."""

    def open(self) -> sqlite3.Connection:
        """A fresh connection with everything older than it made durable. May raise."""
        ...

    def check_still_ours(self) -> None:
        """Raises TakenOver where another gateway has taken over; asked for every batch of the journal."""
        ...

    def apply(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Executes the jobs inside the open transaction and sets their results. Raises TakenOver, or anything."""
        ...

    def tidy(self, connection: sqlite3.Connection) -> bool:
        """Between batches: whatever keeps the database in shape and must not be done while a batch waits.

        Whether it is in shape; False where it was not looked at. Raises sqlite3.Error where it cannot be done.
        """
        ...

    def reconcile(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> list[Job]:
        """After a commit of unknown outcome: makes what did happen ready to be worked on.

        Gives those of the jobs with a note whose rows are not there yet.
        """
        ...

    def recorded(self, jobs: Sequence[Job]) -> None:
        """Called on the loop after each transaction with its jobs: safe messages have got their rows now."""
        ...

    def recovered(self) -> None:
        """Called on the loop after `reconcile`, before new jobs are taken."""
        ...


class Writer:
    """Owns the threads. `put` and `submit` are called on the loop."""

    def __init__(
        self, backend: Backend, bodies: BodyFiles, clock: Clock, on_fatal: Callable[[StoreError], None]
    ) -> None:
        self._backend = backend
        self._on_fatal = on_fatal
        self._kept: deque[Job | None] = deque()
        """From the journal's thread to the ledger's, in order; None is the end."""
        self._something = threading.Event()
        self._hurry = threading.Event()
        self._stopping = False
        self._journal = Journal(
            bodies,
            clock,
            check_still_ours=backend.check_still_ours,
            done=self._journaled,
            lost=on_fatal,
            guarded=self._guarded,
        )
        self._ledger = threading.Thread(
            target=self._guarded, args=(self._run_ledger,), name="stormsail-ledger", daemon=True
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._safe: list[Job] = []
        """Messages that are durable in a segment, were answered, and are not in the ledger yet."""
        self.healthy = True
        """False from a commit of unknown outcome until its reconciliation: take no mail."""
        self.trouble = ""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._journal.start(loop)
        self._ledger.start()

    def put(self, job: Job) -> None:
        """Queues the job, in order; its `settled` or `failed` is called on the loop."""
        assert self._loop is not None
        if self.healthy:
            self._journal.put(job)
        else:
            job.error = TemporaryError("The store is being repaired, please try again shortly")
            self._loop.call_soon(settle_all, [job])

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """The same with a future, which raises a StormsailError where it was not done, or may not have been."""
        assert self._loop is not None
        job.future = self._loop.create_future()
        self.put(job)
        return job.future

    def stop(self) -> None:
        """Finishes what was put and ends the threads. Blocks, and needs the loop meanwhile."""
        if self._loop is None:
            return
        self._stopping = True
        self._journal.stop()
        self._hand_on([None])
        self._ledger.join()

    def _journaled(self, jobs: Sequence[Job]) -> None:
        """On the loop: what is safe is answered now, all that was not refused goes on to the ledger."""
        self._hand_on([job for job in jobs if job.error is None])
        answered = [job for job in jobs if job.error is not None or job.note]
        for job in answered:
            job.told = True
        settle_all(answered)

    def _hand_on(self, jobs: Sequence[Job | None]) -> None:
        """Wakes the ledger's thread as seldom as may be: every wake-up costs the event loop its turn."""
        self._kept.extend(jobs)
        if len(self._kept) >= RECORD_JOBS or any(job is None or not job.note for job in jobs):
            self._hurry.set()
        if jobs and not self._something.is_set():
            self._something.set()

    @property
    def backlog(self) -> int:
        """Messages that are safe and not in the ledger yet."""
        return len(self._kept) + len(self._safe)

    def _guarded(self, run: Callable[[], None]) -> None:
        """A thread that ends by a fault of ours ends the gateway: what is safe is taken up at the next start."""
        try:
            run()
        except TakenOver as error:
            self._call(self._on_fatal, error)
        except BaseException as error:
            log.error("writer_thread_failed", exc_info=error)
            self._call(self._on_fatal, StoreError(f"The writer has failed: {error!r}"))

    # ── the ledger's thread ──

    def _run_ledger(self) -> None:
        connection = self._open()
        ending = False
        while not ending:
            self._something.wait()
            self._hurry.wait(RECORD_S)
            self._something.clear()
            self._hurry.clear()
            rest, ending = self._gather()
            connection = self._record(connection, rest)
        connection.close()

    def _open(self) -> sqlite3.Connection:
        """The first connection. Whoever reads the ledger for long delays it; mail is safe in its segment meanwhile."""
        while True:
            try:
                connection = self._backend.open()
            except DatabaseBusy as error:
                if self._stopping:
                    raise
                self.trouble = f"The store is waited for: {error}"
                log.warning("ledger_waits", why=str(error))
                time.sleep(REOPEN_PAUSE_S)
            else:
                self.trouble = ""
                return connection

    def _gather(self) -> tuple[list[Job], bool]:
        """Takes what was kept up to now: messages that are safe, and everything else, which is given."""
        rest: list[Job] = []
        while self._kept:
            job = self._kept.popleft()
            if job is None:
                return rest, True
            (self._safe if job.note else rest).append(job)
        return rest, False

    def _record(self, connection: sqlite3.Connection, rest: list[Job]) -> sqlite3.Connection:
        """One transaction for the safe messages and all other jobs; after trouble a new connection."""
        if not self._safe and not rest:
            return connection
        if not self._commit(connection, [*self._safe, *rest]):
            return self._recover(connection, rest)
        self._settle(rest)
        self._call(self._backend.recorded, [*self._safe, *rest])
        self._safe = []
        self._tidy(connection)
        return connection

    def _tidy(self, connection: sqlite3.Connection) -> None:
        try:
            in_shape = self._backend.tidy(connection)
        except sqlite3.Error as error:
            self.trouble = f"{LOG_GROWS}: {error}"
        else:
            if in_shape and self.trouble.startswith(LOG_GROWS):
                self.trouble = ""

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """True where the outcome is known: done, or cleanly not done and said so."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._backend.apply(connection, jobs)
        except TakenOver as error:
            self._call(self._on_fatal, error)  # before all else: rolling back may fail too
            self._fail(jobs, error)
            connection.execute("ROLLBACK")
            return True
        except Exception as error:  # noqa: BLE001 — before COMMIT nothing has happened, whatever it was
            return self._roll_back(connection, jobs, error)
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.trouble = f"A commit failed: {error}"
            return False
        return True

    def _roll_back(self, connection: sqlite3.Connection, jobs: list[Job], error: Exception) -> bool:
        """A statement failed before the commit: nothing happened. A bad job must harm only itself."""
        self.trouble = f"The ledger refused a change: {error}"
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            return False
        if isinstance(error, sqlite3.OperationalError) or len(jobs) == 1:
            # No room, no access, a failing disk: the safe messages have to wait, the others are told.
            return self._give_back(jobs, error)
        for job in jobs:
            if not self._commit(connection, [job]):
                return False
            if not job.note:
                self._settle([job])
        return True

    def _give_back(self, jobs: list[Job], error: Exception) -> bool:
        full = "full" in str(error)
        sentence = "The disk is full" if full else f"The ledger refused the change: {error}"
        if not isinstance(error, REFUSALS):
            log.error("change_failed", exc_info=error)
            full, sentence = False, UNKNOWN_FAILURE.text
        self._fail([job for job in jobs if not job.note], StorageFull(sentence) if full else TemporaryError(sentence))
        return not any(job.note for job in jobs)

    def _recover(self, connection: sqlite3.Connection, rest: list[Job]) -> sqlite3.Connection:
        """After a commit of unknown outcome. Tells the waiting first, then tries until the store is sound again."""
        self.healthy = False
        self._fail(
            [job for job in rest if job.error is None],
            OutcomeUnknown("The store failed while the change was being made; please try it again"),
        )
        self._settle(rest)
        try:
            connection.close()
        except sqlite3.Error as error:
            self.trouble = f"{self.trouble}; closing failed: {error}"
        while True:
            time.sleep(REOPEN_PAUSE_S)
            self._refuse_waiting()
            try:
                return self._reopen(rest)
            except (*REFUSALS, OSError) as error:
                if self._stopping:
                    raise
                self.trouble = f"The store cannot be used: {error}"

    def _reopen(self, rest: list[Job]) -> sqlite3.Connection:
        fresh = self._backend.open()
        self._safe = self._backend.reconcile(fresh, [*self._safe, *rest])
        for job in self._safe:
            self._record_alone(fresh, job)
        self._safe = []
        self._call(self._resume)
        return fresh

    def _record_alone(self, connection: sqlite3.Connection, job: Job) -> None:
        """One safe message; a row that the ledger will never take is set aside, its bytes stay in the segment."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._backend.apply(connection, [job])
        except NEVER_TAKEN as error:
            connection.execute("ROLLBACK")
            log.error("message_set_aside", number=job.number, record=str(job.record), why=str(error))
        else:
            connection.execute("COMMIT")

    def _resume(self) -> None:
        try:
            self._backend.recovered()
        finally:
            self.trouble = ""
            self.healthy = True

    def _refuse_waiting(self) -> None:
        """Who waits for a change is told; messages that are safe already join those that wait for the ledger."""
        waiting, ending = self._gather()
        if ending:
            self._hand_on([None])
        self._fail(waiting, TemporaryError("The store is being repaired, please try again shortly"))
        self._settle(waiting)

    @staticmethod
    def _fail(jobs: Sequence[Job], error: StormsailError) -> None:
        for job in jobs:
            job.error = error

    def _call(self, work: Callable[..., None], *values: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(work, *values)

    def _settle(self, jobs: Sequence[Job]) -> None:
        """Tells those who wait, each once."""
        untold = [job for job in jobs if not job.told]
        for job in untold:
            job.told = True
        if untold:
            self._call(settle_all, untold)
