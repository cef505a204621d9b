"""The copies as other parts see them (DESIGN §2, §6): lists, views, flags, folders, search, retention.

In: the ledger and the bodies, followed by cursor. Out: readable copies; `on_change` is called on the event loop for
each change. Writing happens on the filer's thread, reading on threads of its own, foreign bytes are taken apart in
child processes: nothing here is in the way of a 250. Fails with NotFound, BadRequest, BadContent, BodyDamaged, and
TemporaryError where the disk does not answer.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from stormsail.clock import Clock
from stormsail.config import LimitSettings
from stormsail.digest import PartAnswer, Refusal
from stormsail.directory.snapshot import DirectorySnapshot
from stormsail.domain.errors import BadContent, NotFound, TemporaryError
from stormsail.ledger.following import LedgerFollower
from stormsail.store import BodyDamaged, BodyFiles

from . import changing, retention
from .checking import check_copies
from .children import DigestChildren, Outcome
from .copies import check_folder, split_flags
from .filer import Filer
from .queries import MailReader, raw_message
from .tide import Tide
from .values import (
    Attachment,
    Copy,
    CopyChange,
    CopyPage,
    CopyState,
    FolderCount,
    Lag,
    MessageSummary,
    View,
)

T = TypeVar("T")
READERS = 2


class Mailstore:
    """Start it after the ledger, stop it before."""

    def __init__(
        self,
        data_dir: Path,
        ledger_path: Path,
        bodies: BodyFiles,
        directory: Callable[[], DirectorySnapshot],
        clock: Clock,
        limits: LimitSettings,
        on_change: Callable[[CopyChange], None],
    ) -> None:
        self._data_dir = data_dir
        self._ledger_path = ledger_path
        self._bodies = bodies
        self._directory = directory
        self._clock = clock
        self._on_change = on_change
        self._local = threading.local()
        self._tide = Tide(clock.monotonic)
        self.children = DigestChildren(
            clock,
            children=limits.digest_children,
            seconds=limits.digest_seconds,
            memory=limits.digest_memory,
            read=self._read_for_child,
            tide=self._tide,
        )
        self._readers: queue.SimpleQueue[MailReader] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="stormsail-copies")
        self._filer: Filer | None = None

    async def start(self) -> None:
        """Opens the databases, then follows and digests until `stop`. Raises StoreError, sqlite3.Error, OSError."""
        filer = Filer(
            self._data_dir,
            self._ledger_path,
            self._bodies,
            self._clock,
            directory=self._directory,
            children=self.children,
            tide=self._tide,
            on_change=self._on_change,
        )
        await filer.start()
        self._filer = filer
        self.children.start()
        for _ in range(READERS):
            self._readers.put(MailReader(self._data_dir, self._ledger_path, self._bodies, self._report_broken))

    async def stop(self) -> None:
        """Ends children and threads; what was in hand is done after the next start."""
        await asyncio.to_thread(self.children.stop)
        filer, self._filer = self._filer, None
        if filer is not None:
            await filer.stop()
        self._pool.shutdown(wait=True)
        while not self._readers.empty():
            self._readers.get().close()

    def note_accept(self) -> None:
        """A message was accepted; its row in the ledger follows. Called on the loop; costs nothing."""
        self._tide.note()

    def wake(self) -> None:
        """The ledger has new messages. Called on the loop; costs nothing."""
        if self._filer is not None:
            self._filer.wake()

    def want_first(self, mailbox: str) -> None:
        """Somebody has the mailbox open: what is unprepared in it goes first."""
        self._writing.hint(lambda filer: filer.preparing.want(mailbox))

    # ── reading ──

    async def page(
        self, mailbox: str, folder: str | None, query: str | None, before: str | None, limit: int
    ) -> CopyPage:
        """A page of a mailbox or of one folder, the newest first; with a query, of what matches. Raises BadRequest."""
        if query is None or not query.strip():
            return await self._reading(lambda reader: reader.page(mailbox, folder, before, limit))
        return await self._reading(lambda reader: reader.found(mailbox, folder, query, before, limit))

    async def copy(self, copy_id: int) -> Copy:
        """One copy. Raises NotFound."""
        return await self._reading(lambda reader: reader.copy(copy_id))

    async def view(self, copy_id: int) -> View:
        """One copy to be read; while it is `preparing` it is put first. Raises NotFound."""
        view = await self._reading(lambda reader: reader.view(copy_id))
        if view.copy.state is CopyState.PREPARING:
            self._writing.hint(lambda filer: filer.preparing.ask(view.copy.message_id))
        return view

    async def raw(self, copy_id: int) -> bytes:
        """The message as it lies in the mailbox, with Return-Path. Raises NotFound, BodyDamaged."""
        return await self._reading(lambda reader: reader.raw(copy_id))

    async def attachment(self, copy_id: int, part: str) -> Attachment:
        """One part, decoded. Raises NotFound where there is none, BadContent where it cannot be taken out."""
        copy = await self.copy(copy_id)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[object] = loop.create_future()
        self.children.take_part(
            copy.message_id, part[:200] or "0", lambda found: loop.call_soon_threadsafe(_settle, answer, found)
        )
        found = await answer
        if isinstance(found, PartAnswer):
            return Attachment(found.file_name, found.content_type, found.content)
        if isinstance(found, Outcome):
            raise BodyDamaged(found.problem) if found.damaged else BadContent(found.problem)
        reason = found.reason if isinstance(found, Refusal) else "The part cannot be taken out"
        raise NotFound(reason) if reason == NO_SUCH_PART else BadContent(f"{reason}; download the whole message")

    async def counts(self, mailbox: str) -> dict[str, FolderCount]:
        """Messages and unread ones of each folder there is."""
        return await self._reading(lambda reader: reader.counts(mailbox))

    async def lag(self) -> Lag:
        """How far the copies are behind, and what stands in their way."""
        lag = await self._reading(lambda reader: reader.lag(self._clock.now_ms()))
        return msgspec.structs.replace(lag, trouble=self._writing.trouble or self.children.trouble)

    async def search_messages(self, query: str, limit: int) -> list[int]:
        """Ledger ids of messages that match, whoever has them, the newest first: for `trace`. Raises BadRequest."""
        return await self._reading(lambda reader: reader.messages_found(query, limit))

    async def subject_of(self, message_id: int) -> MessageSummary | None:
        """What a message's header says; None while it is not read."""
        return await self._reading(lambda reader: reader.summary(message_id))

    async def check(self) -> list[str]:
        """Differences between copies and ledger, a sentence each."""
        return await self._reading(lambda _: check_copies(self._data_dir, self._ledger_path, self._directory()))

    # ── changing ──

    async def patch(self, copy_id: int, flags: set[str] | None, folder: str | None) -> Copy:
        """Replaces the flags, moves into another folder, or both. Raises NotFound, BadRequest."""
        if folder is not None:
            check_folder(folder)
        if flags is not None:
            split_flags(flags)
        await self._writing.call(lambda filer: changing.patch(filer, copy_id, flags, folder))
        return await self.copy(copy_id)

    async def delete(self, copy_id: int) -> None:
        """Removes a copy for good; its UID is never given again. Raises NotFound."""
        await self._writing.call(lambda filer: changing.delete(filer, copy_id))

    async def file_refused(self, message_id: int, mailbox: str, folder: str) -> None:
        """The primary refused the message for this recipient: its Inbox copies there go into `folder` (DESIGN §3.9)."""
        check_folder(folder)
        await self._writing.call(
            lambda filer: changing.file_refused(filer, self._directory(), message_id, mailbox, folder)
        )

    async def run_retention(self, days: int) -> str | None:
        """Removes the oldest day that may go, if it is older than `days`; says which. The caller trusts the clock."""
        day = await self._writing.call(lambda filer: retention.day_to_remove(filer, days))
        if day is None:
            return None
        while await self._writing.call(lambda filer: retention.remove_some(filer, day)):
            pass
        await self._writing.call(lambda filer: retention.remove_rest(filer, day))
        return day

    # ── inside ──

    @property
    def _writing(self) -> Filer:
        if self._filer is None:
            raise TemporaryError("The copies are not open")
        return self._filer

    async def _reading(self, work: Callable[[MailReader], T]) -> T:
        """Runs `work` with a reader on a thread of the pool."""

        def run() -> T:
            reader = self._readers.get()
            try:
                return work(reader)
            except sqlite3.Error as error:
                raise TemporaryError(f"The copies cannot be read now: {error}") from error
            finally:
                self._readers.put(reader)

        if self._filer is None:
            raise TemporaryError("The copies are not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, run)

    def _read_for_child(self, message_id: int) -> bytes:
        """A raw message, on a digest thread. Raises BodyDamaged."""
        ledger = getattr(self._local, "ledger", None)
        if ledger is None:
            ledger = self._local.ledger = LedgerFollower(self._ledger_path)
        try:
            return raw_message(ledger, self._bodies, message_id)
        except NotFound as error:
            raise BodyDamaged(error.sentence) from error

    def _report_broken(self, day: str, inode: int) -> None:
        """On a reader's thread: a search database was found broken."""
        if self._filer is not None:
            self._filer.report_broken(day, inode)


NO_SUCH_PART = "There is no such part"


def _settle(future: asyncio.Future[object], found: object) -> None:
    if not future.done():
        future.set_result(found)
