"""The filer: the one thread that writes copies (DESIGN §6). It never runs on the thread or the file that gates a 250.

In: wake-ups from the ledger, calls from the API, outcomes of the digest children. Out: rows, and changes told on the
event loop. Calls go first; following and storing gather what comes within a moment into one commit. A failing disk
stops nothing for good: `trouble` says what is wrong, and the work is tried again.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import structlog

from stormsail.clock import Clock
from stormsail.directory.snapshot import DirectorySnapshot
from stormsail.domain.errors import StormsailError, TemporaryError
from stormsail.ledger.following import Followed
from stormsail.store import BodyFiles

from .children import DigestChildren, Outcome
from .follower import Follower
from .mailfile import MailFile
from .mending import Mending
from .preparing import Preparing
from .tide import Tide
from .values import CopyChange

T = TypeVar("T")
IDLE_S = 0.5
"""The ledger is looked at so often even if nobody wakes us."""
GIVE_WAY_S = 0.002
LOOK_S = 0.05
PAUSE_S = 1.0
ENDED = "The copies are not being kept up: the filer has ended"


class Call(Generic[T]):
    """Work for the thread, and the future that waits for it on the loop."""

    def __init__(self, work: Callable[[Filer], T], future: asyncio.Future[T]) -> None:
        self.work = work
        self.future = future


class _Broken(msgspec.Struct, frozen=True):
    """A reader found a day's search database broken."""

    day: str
    inode: int


_Item = Call[Any] | Outcome | _Broken | str


class Filer:
    """Owns the thread. `file`, `follower`, `preparing` belong to it, and to calls while they run."""

    file: MailFile
    follower: Follower
    preparing: Preparing
    mending: Mending

    def __init__(
        self,
        data_dir: Path,
        ledger_path: Path,
        bodies: BodyFiles,
        clock: Clock,
        *,
        directory: Callable[[], DirectorySnapshot],
        children: DigestChildren,
        tide: Tide,
        on_change: Callable[[CopyChange], None],
    ) -> None:
        self._open: Callable[[], MailFile] = lambda: MailFile(data_dir, ledger_path, bodies, clock, self._tell)
        self._directory = directory
        self._children = children
        self._tide = tide
        self._on_change = on_change
        self._queue: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._urgent = threading.Event()
        self._woken = False
        self._outcomes: list[Outcome] = []
        self._thread = threading.Thread(target=self._run, name="stormsail-filer", daemon=True)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self.trouble = ""

    # ── called on the loop ──

    async def start(self) -> None:
        """Opens everything and begins. Raises StoreError and what SQLite and the disk raise."""
        self._thread.start()
        await self._opened

    def wake(self) -> None:
        """The ledger has something new."""
        if not self._woken:
            self._woken = True
            self._queue.put("wake")

    def call(self, work: Callable[[Filer], T]) -> asyncio.Future[T]:
        """Runs `work` on the thread, soon. The future raises what it raises, TemporaryError for the disk's failures."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._thread.is_alive():
            self._queue.put(Call(work, future))
            self._urgent.set()
        else:
            future.set_exception(TemporaryError(ENDED))
        return future

    def hint(self, work: Callable[[Filer], object]) -> None:
        """The same for work that nobody waits for, and that may as well not be done."""
        self.call(work).add_done_callback(lambda done: done.cancelled() or done.exception())

    async def stop(self) -> None:
        """Finishes what is in hand and closes the files."""
        self._queue.put("stop")
        self._urgent.set()
        await asyncio.to_thread(self._thread.join)

    # ── called on the children's threads ──

    def digested(self, outcome: object) -> None:
        if isinstance(outcome, Outcome):
            self._queue.put(outcome)

    # ── called on readers' threads ──

    def report_broken(self, day: str, inode: int) -> None:
        """A search database cannot be read any more."""
        self._queue.put(_Broken(day, inode))

    # ── the thread ──

    def _run(self) -> None:
        try:
            self.file = self._open()
            self.follower = Follower(self.file, self._directory, self._filed)
            self.preparing = Preparing(self.file, self._children, self.digested)
            self.mending = Mending(self.file, self.preparing)
        except (StormsailError, sqlite3.Error, OSError) as error:
            self._loop.call_soon_threadsafe(self._opened.set_exception, error)
            return
        except BaseException:
            self._loop.call_soon_threadsafe(self._opened.set_exception, TemporaryError(ENDED))
            raise
        self._loop.call_soon_threadsafe(self._opened.set_result, None)
        try:
            self._serve()
        finally:
            self.trouble = ENDED
            self.file.close()
            self._refuse_waiting()

    def _filed(self, batch: list[Followed]) -> None:
        self.preparing.filed(batch)

    def _refuse_waiting(self) -> None:
        while not self._queue.empty():
            item = self._queue.get_nowait()
            if isinstance(item, Call):
                self._settle(item.future, None, TemporaryError(ENDED))

    def _serve(self) -> None:
        more = True
        while True:
            items = self._collect(more)
            for item in items:
                if isinstance(item, Call):
                    self._answer(item)
            if "stop" in items:
                return
            self._outcomes += [item for item in items if isinstance(item, Outcome)]
            try:
                for item in items:
                    if isinstance(item, _Broken):
                        self.mending.report_broken(item.day, item.inode)
                more = self._turn()
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - whatever it is, copies must go on being made; it is told and tried again
                self._note_trouble(error)
                more = False

    def _collect(self, more: bool) -> list[_Item]:
        """What there is to do; where nothing hurries, what comes within a moment."""
        items: list[_Item] = []
        try:
            first = self._queue.get(timeout=GIVE_WAY_S if more else IDLE_S)
        except queue.Empty:
            return items
        items.append(first)
        if not isinstance(first, Call):
            self._gather()
        self._urgent.clear()
        self._woken = False
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items

    def _gather(self) -> None:
        """Waits for others that share the commit, the longer the faster mail is coming in."""
        began = time.monotonic()
        while (left := began + self._tide.gather_s() - time.monotonic()) > 0:
            if self._urgent.wait(min(left, LOOK_S)):
                return

    def _turn(self) -> bool:
        """One piece of each kind of work; True where there is more of it already."""
        more = self.follower.step()
        if self._outcomes:
            self.preparing.store(self._outcomes)
            self._outcomes = []
        self.preparing.refill()
        return self.mending.step() or more

    def _answer(self, call: Call[Any]) -> None:
        try:
            result = call.work(self)
        except (sqlite3.Error, OSError) as error:
            self.file.undo()
            self._settle(call.future, None, TemporaryError(f"The copies cannot be written now: {error}"))
        except Exception as error:  # noqa: BLE001 - it is whoever called that has to know, and only they
            self.file.undo()
            self._settle(call.future, None, error)
        else:
            self._settle(call.future, result, None)

    def _settle(self, future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def settle() -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self._loop.call_soon_threadsafe(settle)

    def _note_trouble(self, error: Exception) -> None:
        self.file.undo()
        words = f"The copies cannot be written: {error}"
        if words != self.trouble:
            structlog.get_logger(__name__).error("copies_not_written", reason=str(error), exc_info=error)
        self.trouble = words
        self._urgent.wait(PAUSE_S)

    def _tell(self, changes: list[CopyChange]) -> None:
        def tell() -> None:
            for change in changes:
                self._on_change(change)

        self._loop.call_soon_threadsafe(tell)
