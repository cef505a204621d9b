"""The digest children and the threads that feed them (DESIGN §3.11, §6).

In: messages to digest, in order of urgency, and parts to take out. Out: outcomes, given to the callback on the
thread that worked. A message that kills a child is tried once more in a fresh one, then only scanned, then given up:
never a loop. While no child can be started nothing is lost: the work waits, and `trouble` says so.
"""

from __future__ import annotations

import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable
from enum import IntEnum

import msgspec
import structlog

from stormsail.clock import Clock
from stormsail.digest import Answer, Digest, PartAnswer, Refusal, Request, Task
from stormsail.domain.ids import id_to_text
from stormsail.store import BodyDamaged

from .child import ChildDied, ChildSlow, ChildUnavailable, DigestChild
from .tide import Tide

MESSAGES_PER_CHILD = 20_000
START_PAUSE_S = 2.0
TOO_SLOW = "The message takes too long to be taken apart; this is its beginning"
KILLS = "The message cannot be taken apart safely; this is its beginning"

FAILED = "The message could not be taken apart"
GIVE_WAY_S = 0.1
STOPPING = "The gateway is being stopped"


class Urgency(IntEnum):
    ASKED = 0
    """Somebody waits for it."""
    WANTED = 1
    NEW = 2
    OLD = 3


class Outcome(msgspec.Struct, frozen=True):
    """What came of a message: its digest; or only `problem`, `damaged` where its bytes are not what was written."""

    message_id: int
    digest: Digest | None
    problem: str = ""
    damaged: bool = False


class _Work(msgspec.Struct, frozen=True):
    message_id: int
    part: str
    done: Callable[[object], object]
    """Called with an Outcome, or for a part with a PartAnswer, a Refusal or an Outcome without digest."""


class DigestChildren:
    """A thread and a child process each. `read` gives a message's raw octets, on the worker's thread."""

    def __init__(
        self, clock: Clock, *, children: int, seconds: float, memory: int, read: Callable[[int], bytes], tide: Tide
    ) -> None:
        self._read = read
        self._tide = tide
        self._queue: queue.PriorityQueue[tuple[int, int, _Work | None]] = queue.PriorityQueue()
        self._count = itertools.count()
        self._stopping = threading.Event()
        self._gate = threading.Lock()
        """Held while a part is queued, so that none is after the end."""
        self.children = [DigestChild(clock, memory, seconds) for _ in range(children)]
        self._threads = [
            threading.Thread(target=self._run, args=(child,), name="stormsail-digest", daemon=True)
            for child in self.children
        ]
        self.trouble = ""

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends children and threads; what they had is done again after the next start. Blocks."""
        with self._gate:
            self._stopping.set()
        for child in self.children:
            self._queue.put((-1, next(self._count), None))
            child.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        while not self._queue.empty():
            work = self._queue.get_nowait()[2]
            if work is not None and work.part:
                work.done(Refusal(STOPPING))

    def digest(self, message_id: int, urgency: Urgency, done: Callable[[object], object]) -> None:
        """Queues a message."""
        self._queue.put((urgency, next(self._count), _Work(message_id, "", done)))

    def take_part(self, message_id: int, part: str, done: Callable[[object], object]) -> None:
        """Queues the taking out of one part."""
        with self._gate:
            if not self._stopping.is_set():
                self._queue.put((Urgency.ASKED, next(self._count), _Work(message_id, part, done)))
                return
        done(Refusal(STOPPING))

    # ── the threads ──

    def _run(self, child: DigestChild) -> None:
        handled = 0
        while not self._stopping.is_set():
            urgency, number, work = self._queue.get()
            if work is None:
                break
            if urgency >= Urgency.NEW and self._tide.digests_wait():
                self._queue.put((urgency, number, work))
                self._stopping.wait(GIVE_WAY_S)
                continue
            try:
                outcome = self._work(child, work)
            except _Stopping:
                if work.part:
                    work.done(Refusal(STOPPING))
                break
            except Exception as error:  # noqa: BLE001 - one message must not end the thread that reads all others
                structlog.get_logger(__name__).error(
                    "digest_failed", message=id_to_text(work.message_id), exc_info=error
                )
                outcome = Outcome(work.message_id, None, FAILED)
            work.done(outcome)
            handled += 1
            if handled % MESSAGES_PER_CHILD == 0 or _wants_to_retire(outcome):
                child.retire()
        child.retire()

    def _work(self, child: DigestChild, work: _Work) -> object:
        """What came of the work. Raises _Stopping where the mailstore stops in the middle."""
        try:
            raw = memoryview(self._read_patiently(work.message_id))
        except BodyDamaged as error:
            return Outcome(work.message_id, None, error.sentence, damaged=True)
        if work.part:
            return self._take(child, work, raw)
        problem = ""
        for task in (Task.DIGEST, Task.DIGEST, Task.SCAN):
            if task is Task.DIGEST and problem == TOO_SLOW:
                continue
            try:
                answer = self._ask(child, Request(task, raw))
            except ChildDied as error:
                problem = TOO_SLOW if isinstance(error, ChildSlow) else problem or KILLS
                _log_death(work.message_id, task, error)
                continue
            if isinstance(answer, Digest):
                scanned = task is Task.SCAN
                digest = msgspec.structs.replace(answer, problem=problem) if scanned else answer
                return Outcome(work.message_id, digest, digest.problem)
        return Outcome(work.message_id, None, problem or KILLS)

    def _take(self, child: DigestChild, work: _Work, raw: memoryview) -> object:
        try:
            answer = self._ask(child, Request(Task.PART, raw, work.part))
        except ChildDied as error:
            _log_death(work.message_id, Task.PART, error)
            return Refusal("The message cannot be taken apart safely")
        return answer if isinstance(answer, PartAnswer | Refusal) else Refusal("The part cannot be taken out")

    def _ask(self, child: DigestChild, request: Request) -> Answer:
        """The answer, however long it takes until a child can be started."""
        while True:
            try:
                answer = child.ask(request)
            except ChildUnavailable as error:
                self.trouble = str(error)
                self._pause()
                continue
            except ChildDied:
                if self._stopping.is_set():
                    raise _Stopping from None
                raise
            self.trouble = ""
            return answer

    def _read_patiently(self, message_id: int) -> bytes:
        """The raw octets; a ledger that cannot be read now is asked again. Raises BodyDamaged."""
        while True:
            try:
                return self._read(message_id)
            except sqlite3.Error as error:
                self.trouble = f"The ledger cannot be read: {error}"
                self._pause()

    def _pause(self) -> None:
        if self._stopping.wait(START_PAUSE_S):
            raise _Stopping


class _Stopping(Exception):
    """The mailstore stops; what is in hand is done after the next start."""


def _wants_to_retire(outcome: object) -> bool:
    return isinstance(outcome, Outcome) and outcome.digest is not None and outcome.digest.retire


def _log_death(message_id: int, task: Task, error: ChildDied) -> None:
    structlog.get_logger(__name__).warning(
        "digest_child_died", message=id_to_text(message_id), task=task.value, how=str(error)
    )
