"""The journal: messages become durable in body segments, one write and one fdatasync for all that wait (DESIGN §6).

In: jobs, on the loop. Out: the same jobs in the same order, each with the place of its record or with its error. What
waits while a batch is on its way to the disk is the next batch. Records are made on the loop; the thread only writes
and syncs: each time it takes the interpreter back from a busy loop costs both more than the work (measured: a quarter
of all accepts).
"""

from __future__ import annotations

import asyncio
import errno
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence

from stormsail.clock import Clock, to_day
from stormsail.domain.errors import StorageFull, StormsailError, TakenOver, TemporaryError

from .bodies import BodyFiles
from .job import Job
from .records import Packed, Place, Record, pack

BATCH_JOBS = 512
BATCH_BYTES = 4 << 20
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})


class Journal:
    """`put` from the loop; `done` is called there with each batch, `lost` where the data is another gateway's now."""

    def __init__(
        self,
        bodies: BodyFiles,
        clock: Clock,
        *,
        check_still_ours: Callable[[], None],
        done: Callable[[Sequence[Job]], None],
        lost: Callable[[TakenOver], None],
        guarded: Callable[[Callable[[], None]], None],
    ) -> None:
        self._bodies = bodies
        self._clock = clock
        self._check_still_ours = check_still_ours
        self._done = done
        self._lost = lost
        self._waiting: deque[Job] = deque()
        self._batch: list[Job] = []
        """What is on its way to the disk, with jobs between that have no record."""
        self._packed = Packed(b"", [])
        self._ending = False
        self._work: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=guarded, args=(self._run,), name="stormsail-journal", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def put(self, job: Job) -> None:
        """Takes a job. One without a record waits only for those before it."""
        if self._batch or job.has_record:
            self._waiting.append(job)
            if not self._batch:
                self._begin()
        else:
            self._done([job])

    def stop(self) -> None:
        """Finishes what was put and ends the thread. Blocks, and needs the loop meanwhile."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join()

    # ── on the loop ──

    def _end(self) -> None:
        self._ending = True
        if not self._batch:
            self._work.put(None)

    def _begin(self) -> None:
        self._batch = batch = self._take()
        self._packed = pack([Record(job.number, job.note, job.content or b"") for job in batch if job.has_record])
        self._work.put((to_day(self._clock.now_ms()), self._packed.data))

    def _take(self) -> list[Job]:
        """What waits, up to the size of a batch."""
        batch: list[Job] = []
        size = 0
        waiting = self._waiting
        while waiting and len(batch) < BATCH_JOBS and size < BATCH_BYTES:
            job = waiting.popleft()
            batch.append(job)
            size += len(job.content or b"")
        return batch

    def _written(self, outcome: Place | OSError) -> None:
        """The thread has done the batch; the next one is on its way before this one is answered."""
        batch, packed = self._batch, self._packed
        error = self._trouble(outcome)
        kept = [job for job in batch if job.has_record]
        while self._waiting and not self._waiting[0].has_record:
            batch.append(self._waiting.popleft())
        self._batch = []
        if self._waiting:
            self._begin()
        elif self._ending:
            self._work.put(None)
        if error is not None:
            for job in kept:
                job.error = error
        elif isinstance(outcome, Place):
            for job, record in zip(kept, packed.at(outcome), strict=True):
                job.record = record
                job.ref = job.result = job.ref or record.ref
                job.content = None
        self._done(batch)

    def _trouble(self, outcome: Place | OSError) -> StormsailError | None:
        if isinstance(outcome, OSError):
            return _disk_error(outcome)
        try:
            self._check_still_ours()
        except TakenOver as error:
            self._lost(error)
            return error
        return None

    # ── the thread ──

    def _run(self) -> None:
        assert self._loop is not None
        while (work := self._work.get()) is not None:
            outcome: Place | OSError
            try:
                outcome = self._bodies.keep(*work)
            except OSError as error:
                outcome = error
            self._loop.call_soon_threadsafe(self._written, outcome)
        self._bodies.close()


def _disk_error(error: OSError) -> StormsailError:
    if error.errno in NO_ROOM:
        return StorageFull("There is no room to keep the message, please try again later")
    return TemporaryError(f"The message could not be written to disk: {error.strerror}")
