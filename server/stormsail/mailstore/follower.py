"""Following the ledger: each message behind the cursor gets its copies, in batches (DESIGN §2, §6).

In: the ledger and the directory as it is now. Out: rows in `mail.db`, committed together with the cursor, so that a
tail lost in a crash is made again. Raises sqlite3.Error and OSError; the batch is then tried again as a whole.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from stormsail.clock import to_day
from stormsail.directory.snapshot import DirectorySnapshot
from stormsail.ledger.following import Followed
from stormsail.store import BodyDamaged

from .copies import FiledMessage, needs
from .filing import needs_sent_once, plan_copies, sent_hash
from .mailfile import MailFile

RECENT_MS = 2 * 86_400_000
BATCH_MESSAGES = 256
BATCH_COPIES = 2_000
"""Copies in one transaction: a message to everybody must not keep other work waiting."""


class Follower:
    """Moves the cursor. `filed` is told of each batch once it is durable."""

    def __init__(
        self, file: MailFile, directory: Callable[[], DirectorySnapshot], filed: Callable[[list[Followed]], None]
    ) -> None:
        self._file = file
        self._directory = directory
        self._filed = filed
        self._cursor = file.cursor()
        self._days: frozenset[str] = frozenset()
        self._adopted: DirectorySnapshot | None = None

    def step(self) -> bool:
        """Files one batch. True where there may be more."""
        self._adopt()
        batch = self._file.ledger.after(self._cursor, BATCH_MESSAGES)
        if not batch:
            return False
        planned, cursor = self._plan(batch)
        self._file.boxes.prepare(needs(planned))
        with self._file.transaction() as changes:
            changes += self._file.copies.file(planned, cursor, self._file.clock.now_ms())
        more = cursor < batch[-1].message.id or len(batch) == BATCH_MESSAGES
        self._cursor = cursor
        self._filed([one.followed for one in planned])
        return more

    def until(self, message_id: int) -> None:
        """Files everything up to and with that message, if the ledger has it."""
        while self._cursor < message_id and self.step():
            pass

    def _adopt(self) -> None:
        """Whoever has taken another address keeps the mailbox: the old one is an alias now."""
        directory = self._directory()
        if directory is self._adopted:
            return
        moved = [
            (old, directory.addresses[old])
            for old in self._file.boxes.addresses()
            if old not in directory.entries and old in directory.addresses
        ]
        if moved:
            with self._file.transaction():
                done = [(old, new) for old, new in moved if self._file.boxes.rename(old, new)]
            structlog.get_logger(__name__).info("mailboxes_renamed", mailboxes=len(done), asked=len(moved))
        self._adopted = directory

    def _plan(self, batch: list[Followed]) -> tuple[list[FiledMessage], int]:
        """What is to be made of a batch, and how far that goes: fewer messages where they have very many copies."""
        directory = self._directory()
        planned: list[FiledMessage] = []
        cursor = self._cursor
        copies = 0
        for followed in batch:
            if not self._gone(followed.message.body.day):
                planned.append(self._plan_one(followed, directory))
                copies += len(planned[-1].copies)
            cursor = followed.message.id
            if copies >= BATCH_COPIES:
                break
        return planned, cursor

    def _plan_one(self, followed: Followed, directory: DirectorySnapshot) -> FiledMessage:
        copies = plan_copies(followed, directory)
        if not needs_sent_once(followed) or not any(copy.sent for copy in copies):
            return FiledMessage(followed, copies)
        try:
            return FiledMessage(followed, copies, sent_hash(self._file.bodies.read(followed.message.body)))
        except BodyDamaged:
            return FiledMessage(followed, copies)

    def _gone(self, day: str) -> bool:
        """Whether retention has removed the day: its folder is missing, and not since yesterday."""
        if day in self._days:
            return False
        self._days = frozenset(self._file.bodies.days())
        return day not in self._days and day < to_day(self._file.clock.now_ms() - RECENT_MS)
