"""Which messages are digested next, and what becomes of their digests.

In: ids of new messages, mailboxes somebody has open, outcomes of the children. Out: work for the children, rows in
`mail.db` and `search-DAY.db`. What somebody looks at goes first, then new mail, then the rest, the oldest first.
Belongs to the filer's thread. Raises sqlite3.Error; outcomes not stored yet are kept and stored again.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from stormsail.domain.ids import id_to_text
from stormsail.ledger.following import Followed

from .boxes import Folder
from .children import DigestChildren, Outcome, Urgency
from .digested import index_entry, message_values
from .index import DayLost, IndexedMessage
from .mailfile import MailFile
from .values import ChangeKind, CopyChange, CopyState

IN_FLIGHT = 64
RECENT_MS = 3_600_000
RECENT_IDS = 50_000
WANTED_BOXES = 50
WANTED_AT_ONCE = 20
NOT_STORED = "What was read from the message could not be stored"
UPDATE_MESSAGE = (
    "UPDATE message SET state = ?, problem = ?, subject = ?, author_name = ?, author_address = ?, date = ?,"
    " message_id = ?, preview = ?, attachments = ?, header_length = ?, envelope = ?, structure = ?,"
    " digest_format = ? WHERE id = ?"
)
OLDEST = "SELECT id FROM message WHERE state = 'preparing' AND id > ? ORDER BY id LIMIT ?"
WANTED = (
    "SELECT m.id FROM copy c CROSS JOIN message m ON m.id = c.message_id"
    " WHERE c.mailbox_id = (SELECT id FROM mailbox WHERE address = ?) AND m.state = 'preparing'"
    " ORDER BY c.internal_date DESC, c.id DESC LIMIT ?"
)


class Preparing:
    """Keeps the children busy. `done` is called on their threads with each outcome."""

    def __init__(self, file: MailFile, children: DigestChildren, done: Callable[[object], None]) -> None:
        self._file = file
        self._children = children
        self._done = done
        self._in_flight: set[int] = set()
        self._recent: deque[int] = deque(maxlen=RECENT_IDS)
        self._wanted: dict[str, None] = {}
        self._old_after: int | None = 0
        """Where the walk over all unprepared messages is; None: it has come to its end."""

    # ── which ──

    def filed(self, batch: list[Followed]) -> None:
        """New rows: fresh mail is remembered, what a rebuild makes is found by the walk."""
        if not batch:
            return
        fresh_from = self._file.clock.now_ms() - RECENT_MS
        self._recent.extend(one.message.id for one in batch if one.message.received_at >= fresh_from)
        if batch[0].message.received_at < fresh_from or len(self._recent) == RECENT_IDS:
            self.walk_again()

    def walk_again(self) -> None:
        """Rows have become unprepared that nobody remembers."""
        self._old_after = 0

    def want(self, mailbox: str) -> None:
        """Somebody has the mailbox open."""
        self._wanted.pop(mailbox, None)
        self._wanted[mailbox] = None
        while len(self._wanted) > WANTED_BOXES:
            self._wanted.pop(next(iter(self._wanted)))

    def ask(self, message_id: int) -> None:
        """Somebody waits for this message."""
        self._start([message_id], Urgency.ASKED)

    def refill(self) -> None:
        """Gives the children as much as they need until the next turn."""
        behind = self._old_after is not None or len(self._recent) > IN_FLIGHT
        if behind and self._wanted and self._room() > 0:
            self._refill_wanted()
        while self._recent and self._room() > 0:
            self._start([self._recent.popleft()], Urgency.NEW)
        if self._old_after is not None and (room := self._room()) > 0:
            ids = [row[0] for row in self._file.connection.execute(OLDEST, (self._old_after, room))]
            self._old_after = ids[-1] if len(ids) == room else None
            self._start(ids, Urgency.OLD)

    def _room(self) -> int:
        return IN_FLIGHT - len(self._in_flight)

    def _refill_wanted(self) -> None:
        mailbox = next(iter(self._wanted))
        ids = [row[0] for row in self._file.connection.execute(WANTED, (mailbox, WANTED_AT_ONCE))]
        self._wanted.pop(mailbox)
        if len(ids) == WANTED_AT_ONCE:
            self._wanted[mailbox] = None
        self._start(ids, Urgency.WANTED)

    def _start(self, ids: Iterable[int], urgency: Urgency) -> None:
        for message_id in ids:
            if message_id not in self._in_flight:
                self._in_flight.add(message_id)
                self._children.digest(message_id, urgency, self._done)

    # ── what became of it ──

    def store(self, outcomes: list[Outcome]) -> None:
        """Keeps what the children made. An outcome that cannot be stored harms only its own message."""
        try:
            self._store(outcomes)
        except (ValueError, OverflowError, sqlite3.DataError, sqlite3.IntegrityError) as error:
            if len(outcomes) > 1:
                for outcome in outcomes:
                    self.store([outcome])
                return
            message_id = outcomes[0].message_id
            structlog.get_logger(__name__).warning(
                "digest_not_stored", message=id_to_text(message_id), reason=type(error).__name__
            )
            self._store([Outcome(message_id, None, NOT_STORED)])

    def _store(self, outcomes: list[Outcome]) -> None:
        by_day: dict[str, list[IndexedMessage]] = {}
        rows = []
        for outcome in outcomes:
            day = self._day_of(outcome.message_id)
            if day is None:
                continue
            tokens = [folder.mailbox.token for _, folder in self._copies_of(outcome.message_id)]
            by_day.setdefault(day, []).append(index_entry(outcome, tokens))
            rows.append((*message_values(outcome), outcome.message_id))
        for day, entries in by_day.items():
            self._index(day, entries)
        with self._file.transaction() as changes:
            self._file.connection.executemany(UPDATE_MESSAGE, rows)
            for outcome in outcomes:
                changes += [
                    CopyChange(folder.mailbox.address, copy_id, ChangeKind.DIGESTED, folder.name)
                    for copy_id, folder in self._copies_of(outcome.message_id)
                ]
        self._in_flight.difference_update(outcome.message_id for outcome in outcomes)

    def _index(self, day: str, entries: list[IndexedMessage]) -> None:
        try:
            self._file.index.add(day, entries)
        except DayLost:
            self.day_lost(day)
            self._file.index.add(day, entries)

    def day_lost(self, day: str) -> None:
        """The search database of a day is gone: its messages are digested again."""
        structlog.get_logger(__name__).warning("search_db_lost", day=day, meaning="its messages are read again")
        with self._file.transaction():
            self._file.connection.execute(
                "UPDATE message SET state = ? WHERE day = ? AND state != ?",
                (CopyState.PREPARING, day, CopyState.PREPARING),
            )
        self.walk_again()

    def _day_of(self, message_id: int) -> str | None:
        row = self._file.connection.execute("SELECT day FROM message WHERE id = ?", (message_id,)).fetchone()
        return row[0] if row is not None else None

    def _copies_of(self, message_id: int) -> list[tuple[int, Folder]]:
        sql = "SELECT id, folder_id FROM copy WHERE message_id = ?"
        rows = self._file.connection.execute(sql, (message_id,)).fetchall()
        return [(copy_id, self._file.boxes.folder_by_id(folder_id)) for copy_id, folder_id in rows]
