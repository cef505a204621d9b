"""One piece of work for the store, from the loop through journal and ledger and back to the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from stormsail.domain.errors import StormsailError

from .records import BodyRef, Written

log = structlog.get_logger()


class Job:
    """Something to be made durable. With a `note` it is done when its record is safe in a segment; its rows follow."""

    __slots__ = ("content", "error", "failed", "future", "note", "number", "record", "ref", "result", "settled", "told")

    def __init__(self, content: bytes | None = None, number: int = 0, note: bytes = b"") -> None:
        self.content = content
        """A message's bytes to be written to a segment; `ref` is where they went."""
        self.number = number
        self.note = note
        """What the ledger needs to make the rows again; such a job is done before its rows are there."""
        self.ref: BodyRef | None = None
        self.record: Written | None = None
        """The job's record in its segment, once it is written."""
        self.result: Any = None
        self.error: StormsailError | None = None
        self.future: asyncio.Future[Any] | None = None
        self.settled: Callable[[Any], None] | None = None
        """Called on the loop with the result of a job that was done, also when nobody waits for the future any more."""
        self.told = False
        self.failed: Callable[[StormsailError], None] | None = None
        """The same for a job that was not done, or may not have been."""

    @property
    def has_record(self) -> bool:
        return self.content is not None or bool(self.note)


def settle_all(jobs: Sequence[Job]) -> None:
    """Tells those who wait what became of their jobs; on the loop."""
    for job in jobs:
        try:
            _tell(job)
        except Exception:
            # One job's follower must not keep the others' replies back.
            log.exception("follower_failed", number=job.number)
        future = job.future
        if future is None or future.done():
            continue
        if job.error is not None:
            future.set_exception(job.error)
        else:
            future.set_result(job.result)


def _tell(job: Job) -> None:
    if job.error is None:
        if job.settled is not None:
            job.settled(job.result)
    elif job.failed is not None:
        job.failed(job.error)
    job.settled = job.failed = None
