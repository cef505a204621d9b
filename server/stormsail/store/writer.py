"""The writer: one thread through which everything durable of the ledger passes (DESIGN §3.1, §6).

Natural batching: whatever waits while a batch is on its way to the disk is the next batch. A batch is one write and
one fdatasync of all its bodies, one database transaction, then one call into the event loop that settles all its
jobs. A commit that fails has an unknown outcome: its jobs are told so, no mail is taken, the database is opened
anew and reconciled before the next batch.
"""

from __future__ import annotations

import asyncio
import errno
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from stormsail.clock import Clock, to_day
from stormsail.domain.errors import OutcomeUnknown, StorageFull, StoreError, StormsailError, TemporaryError

from .bodies import BodyFiles, BodyRef

BATCH_JOBS = 512
BATCH_BYTES = 32 << 20
REOPEN_PAUSE_S = 1.0
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class Job:
    """One piece of work for the writer. `content` is a small message's bytes; `ref` is where they went."""

    __slots__ = ("content", "error", "failed", "future", "message_id", "ref", "result", "settled")

    def __init__(self, content: bytes | None = None, message_id: int = 0) -> None:
        self.content = content
        self.message_id = message_id
        self.ref: BodyRef | None = None
        self.result: Any = None
        self.error: StormsailError | None = None
        self.future: asyncio.Future[Any] | None = None
        self.settled: Callable[[Any], None] | None = None
        """Called on the loop with the result of a job that was done, also when nobody waits for the future any more."""
        self.failed: Callable[[StormsailError], None] | None = None
        """The same for a job that was not done, or may not have been."""


class Backend(Protocol):
    """The SQL side: the ledger in production, a failing one in tests."""

    def open(self) -> sqlite3.Connection:
        """A fresh connection with everything older than it made durable. May raise."""
        ...

    def apply(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """Executes the jobs inside the open transaction and sets their results."""
        ...

    def reconcile(self, connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
        """After a commit of unknown outcome: makes what did happen ready to be worked on."""
        ...

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Between batches: whatever keeps the database in shape and must not be done while a batch waits."""
        ...

    def recovered(self) -> None:
        """Called on the loop after `reconcile`, before new jobs are taken."""
        ...


class Writer:
    """Owns the thread. `submit` is called on the loop and answers with the job's result."""

    def __init__(
        self, backend: Backend, bodies: BodyFiles, clock: Clock, on_fatal: Callable[[StoreError], None]
    ) -> None:
        self._backend = backend
        self._bodies = bodies
        self._clock = clock
        self._on_fatal = on_fatal
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stormsail-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.healthy = True
        """False from a commit of unknown outcome until its reconciliation: take no mail."""
        self.trouble = ""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def submit(self, job: Job) -> asyncio.Future[Any]:
        """Queues the job, in order. The future raises a StormsailError where it was not done, or may not have been."""
        assert self._loop is not None
        job.future = self._loop.create_future()
        if self.healthy:
            self._queue.put(job)
        else:
            job.future.set_exception(TemporaryError("The store is being repaired, please try again shortly"))
        return job.future

    def stop(self) -> None:
        """Finishes what is queued and ends the thread. Blocks."""
        self._queue.put(None)
        self._thread.join()

    # ── the thread ──

    def _run(self) -> None:
        connection = self._backend.open()
        ending = False
        while not ending:
            jobs, ending = self._collect()
            if jobs and not self._commit(connection, jobs):
                connection = self._recover(connection, jobs)
            else:
                self._settle(jobs)
                self._tidy(connection)
        connection.close()
        self._bodies.close()

    def _tidy(self, connection: sqlite3.Connection) -> None:
        try:
            self._backend.tidy(connection)
        except sqlite3.Error as error:
            self.trouble = f"The log could not be started anew: {error}"

    def _collect(self) -> tuple[list[Job], bool]:
        jobs: list[Job] = []
        size = 0
        job = self._queue.get()
        while job is not None:
            jobs.append(job)
            size += len(job.content) if job.content is not None else 0
            if len(jobs) >= BATCH_JOBS or size >= BATCH_BYTES:
                return jobs, False
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                return jobs, False
        return jobs, True

    def _commit(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """True where the outcome is known: done, or cleanly not done."""
        try:
            self._store_bodies(jobs)
        except OSError as error:
            self._fail([job for job in jobs if job.content is not None], _disk_error(error))
            return self._commit_rest(connection, jobs)
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._backend.apply(connection, jobs)
        except StoreError as error:
            connection.execute("ROLLBACK")
            self._fail(jobs, error)
            self._tell_fatal(error)
            return True
        except (sqlite3.Error, OverflowError, ValueError, TypeError) as error:
            return self._roll_back(connection, jobs, error)
        try:
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self.trouble = f"A commit failed: {error}"
            return False
        return True

    def _commit_rest(self, connection: sqlite3.Connection, jobs: list[Job]) -> bool:
        """The bodies could not be written; what needs none goes on: deliveries must end on a full disk too."""
        rest = [job for job in jobs if job.content is None]
        return self._commit(connection, rest) if rest else True

    def _store_bodies(self, jobs: list[Job]) -> None:
        with_content = [job for job in jobs if job.content is not None]
        if not with_content:
            return
        contents = [job.content for job in with_content if job.content is not None]
        refs = self._bodies.append(to_day(self._clock.now_ms()), contents, [job.message_id for job in with_content])
        for job, ref in zip(with_content, refs, strict=True):
            job.ref = ref
        self._bodies.sync()

    def _roll_back(self, connection: sqlite3.Connection, jobs: list[Job], error: Exception) -> bool:
        """A statement failed before the commit: nothing happened, if the rollback works."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self.trouble = f"A rollback failed after: {error}"
            return False
        full = isinstance(error, sqlite3.OperationalError) and "full" in str(error)
        sentence = "The disk is full" if full else f"The ledger refused the change: {error}"
        if len(jobs) > 1 and not full:
            for job in jobs:
                self._commit_alone(connection, job)
        else:
            self._fail(jobs, StorageFull(sentence) if full else TemporaryError(sentence))
        return True

    def _commit_alone(self, connection: sqlite3.Connection, job: Job) -> None:
        """One job of a batch that failed together, so that a bad one harms only itself."""
        try:
            connection.execute("BEGIN IMMEDIATE")
            self._backend.apply(connection, [job])
            connection.execute("COMMIT")
        except (sqlite3.Error, OverflowError, ValueError, TypeError, StoreError) as error:
            job.error = TemporaryError(f"The ledger refused the change: {error}")
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    def _recover(self, connection: sqlite3.Connection, jobs: list[Job]) -> sqlite3.Connection:
        """After a commit of unknown outcome. Tells the waiting first, then tries until the store is sound again."""
        self.healthy = False
        self._fail(jobs, OutcomeUnknown("The store failed while the message was being kept; please send it again"))
        self._settle(jobs)
        try:
            connection.close()
        except sqlite3.Error as error:
            self.trouble = f"{self.trouble}; closing failed: {error}"
        while True:
            time.sleep(REOPEN_PAUSE_S)
            self._refuse_waiting()
            try:
                fresh = self._backend.open()
                self._backend.reconcile(fresh, jobs)
            except (sqlite3.Error, OSError) as error:
                self.trouble = f"The store cannot be opened: {error}"
                continue
            except StoreError as error:
                self._tell_fatal(error)
                raise
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._resume)
            return fresh

    def _resume(self) -> None:
        self._backend.recovered()
        self.trouble = ""
        self.healthy = True

    def _refuse_waiting(self) -> None:
        waiting: list[Job] = []
        while not self._queue.empty():
            job = self._queue.get()
            if job is None:
                self._queue.put(None)
                break
            waiting.append(job)
        self._fail(waiting, TemporaryError("The store is being repaired, please try again shortly"))
        self._settle(waiting)

    @staticmethod
    def _fail(jobs: Sequence[Job], error: StormsailError) -> None:
        for job in jobs:
            job.error = error

    def _tell_fatal(self, error: StoreError) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._on_fatal, error)

    def _settle(self, jobs: Sequence[Job]) -> None:
        if jobs:
            assert self._loop is not None
            self._loop.call_soon_threadsafe(_settle_all, jobs)


def _settle_all(jobs: Sequence[Job]) -> None:
    for job in jobs:
        future = job.future
        if job.error is None:
            if job.settled is not None:
                job.settled(job.result)
        elif job.failed is not None:
            job.failed(job.error)
        if future is None or future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)


def _disk_error(error: OSError) -> StormsailError:
    if error.errno in NO_ROOM:
        return StorageFull("There is no room to keep the message, please try again later")
    return TemporaryError(f"The message could not be written to disk: {error.strerror}")
