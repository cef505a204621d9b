"""What happens to copies, as SQL on the filer's connection: made, moved, flagged, removed. Each inside a transaction.

In: plans and requests. Out: the changes to tell. UIDs and MODSEQ come from `Boxes`. Raises NotFound for a copy that
is not there, BadRequest for flags and folders that do not exist.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from stormsail.domain.errors import BadRequest, NotFound
from stormsail.domain.ids import IdGenerator
from stormsail.ledger.following import Followed

from .boxes import Boxes, Folder
from .filing import PlannedCopy, raw_prefix
from .values import FOLDERS, SENT, SYSTEM_FLAGS, ChangeKind, CopyChange, CopyState

SENT_ONCE_MS = 86_400_000
SEEN = 1
KEYWORD = re.compile(r"[A-Za-z0-9$_.&+:=-]{1,64}")
KEYWORDS_LIMIT = 32
INSERT_MESSAGE = "INSERT OR IGNORE INTO message (id, day, received_at, size, state) VALUES (?,?,?,?,?)"
INSERT_COPY = (
    "INSERT INTO copy (id, message_id, mailbox_id, folder_id, uid, modseq, flags, internal_date, sent, recipients)"
    " VALUES (?,?,?,?,?,?,?,?,?,?)"
)

INSERT_ABSENT = "INSERT OR IGNORE INTO absent (message_id, mailbox_id, sent, copy_id) VALUES (?,?,?,?)"
HAS_COPY = (
    "SELECT 1 FROM copy WHERE message_id = ? AND mailbox_id = ? AND sent = ?"
    " UNION ALL SELECT 1 FROM absent WHERE message_id = ? AND mailbox_id = ? AND sent = ?"
)


class FiledMessage(msgspec.Struct, frozen=True):
    """A message with the copies planned for it; `sent_hash` where its Sent copy may be there already."""

    followed: Followed
    copies: list[PlannedCopy]
    sent_hash: bytes | None = None


def needs(filed: Iterable[FiledMessage]) -> Counter[tuple[str, str]]:
    """How many UIDs the copies will take, by mailbox and folder."""
    return Counter((copy.mailbox, copy.folder) for one in filed for copy in one.copies)


class Copies:
    """Writes copies; belongs to the filer's thread."""

    def __init__(self, connection: sqlite3.Connection, boxes: Boxes) -> None:
        self._connection = connection
        self.boxes = boxes
        last = connection.execute("SELECT max(id) FROM copy").fetchone()[0]
        self._ids = IdGenerator(last or 0)

    # ── made ──

    def file(self, filed: Sequence[FiledMessage], cursor: int, now_ms: int) -> list[CopyChange]:
        """Makes the rows of messages and copies, and moves the cursor."""
        changes: list[CopyChange] = []
        for one in filed:
            message = one.followed.message
            known = self._insert_message(one)
            for plan in one.copies:
                if known and self._has_copy(message.id, plan):
                    continue
                earlier = self._sent_before(one, plan)
                if earlier is not None:
                    changes += self._add_recipients(earlier, plan.recipients)
                    self._connection.execute(INSERT_ABSENT, (message.id, self._mailbox_id(plan), 1, earlier))
                    continue
                changes.append(self._insert_copy(one, plan, now_ms))
        self._connection.execute("UPDATE follower SET cursor = ?", (cursor,))
        self._connection.execute("DELETE FROM sent_once WHERE at < ?", (now_ms - 2 * SENT_ONCE_MS,))
        self.boxes.write()
        return changes

    def _insert_message(self, one: FiledMessage) -> bool:
        """True where the message was known already: the cursor has gone back."""
        message = one.followed.message
        size = len(raw_prefix(message.reverse_path, message.head)) + message.size
        values = (message.id, message.body.day, message.received_at, size, CopyState.PREPARING)
        return self._connection.execute(INSERT_MESSAGE, values).rowcount == 0

    def _has_copy(self, message_id: int, plan: PlannedCopy) -> bool:
        """Also true where it is rightly absent."""
        key = (message_id, self._mailbox_id(plan), int(plan.sent))
        return self._connection.execute(HAS_COPY, (*key, *key)).fetchone() is not None

    def _mailbox_id(self, plan: PlannedCopy) -> int:
        return self.boxes.folder(plan.mailbox, plan.folder).mailbox.id

    def _insert_copy(self, one: FiledMessage, plan: PlannedCopy, now_ms: int) -> CopyChange:
        message = one.followed.message
        folder = self.boxes.folder(plan.mailbox, plan.folder)
        copy_id = self._ids.next(now_ms)
        uid, modseq = self.boxes.next_uid(folder), self.boxes.next_modseq(folder)
        recipients = msgspec.json.encode(plan.recipients).decode()
        self._connection.execute(
            INSERT_COPY,
            (copy_id, message.id, folder.mailbox.id, folder.id, uid, modseq)
            + (SEEN if plan.sent else 0, message.received_at, int(plan.sent), recipients),
        )
        if plan.sent and one.sent_hash is not None:
            self._connection.execute(
                "INSERT OR REPLACE INTO sent_once (mailbox_id, hash, copy_id, at) VALUES (?,?,?,?)",
                (folder.mailbox.id, one.sent_hash, copy_id, message.received_at),
            )
        return CopyChange(plan.mailbox, copy_id, ChangeKind.NEW, plan.folder)

    def _sent_before(self, one: FiledMessage, plan: PlannedCopy) -> int | None:
        """The Sent copy of another part of the same message, filed within a day (DESIGN §5)."""
        if not plan.sent or one.sent_hash is None:
            return None
        row = self._connection.execute(
            "SELECT s.copy_id FROM sent_once s JOIN copy c ON c.id = s.copy_id"
            " WHERE s.mailbox_id = ? AND s.hash = ? AND s.at >= ?",
            (
                self.boxes.folder(plan.mailbox, SENT).mailbox.id,
                one.sent_hash,
                one.followed.message.received_at - SENT_ONCE_MS,
            ),
        ).fetchone()
        return row[0] if row is not None else None

    def _add_recipients(self, copy_id: int, recipients: Sequence[str]) -> list[CopyChange]:
        text, folder_id = self._connection.execute(
            "SELECT recipients, folder_id FROM copy WHERE id = ?", (copy_id,)
        ).fetchone()
        known = msgspec.json.decode(text, type=list[str])
        merged = list(dict.fromkeys([*known, *recipients]))
        if merged == known:
            return []
        folder = self.boxes.folder_by_id(folder_id)
        self._connection.execute(
            "UPDATE copy SET recipients = ?, modseq = ? WHERE id = ?",
            (msgspec.json.encode(merged).decode(), self.boxes.next_modseq(folder), copy_id),
        )
        return [CopyChange(folder.mailbox.address, copy_id, ChangeKind.RECIPIENTS, folder.name)]

    # ── changed ──

    def folder_of(self, copy_id: int) -> Folder:
        """Where a copy is. Raises NotFound."""
        row = self._connection.execute("SELECT folder_id FROM copy WHERE id = ?", (copy_id,)).fetchone()
        if row is None:
            raise NotFound("There is no such message")
        return self.boxes.folder_by_id(row[0])

    def set_flags(self, copy_id: int, flags: set[str]) -> list[CopyChange]:
        """Replaces all flags. Raises NotFound, BadRequest."""
        bits, keywords = split_flags(flags)
        folder = self.folder_of(copy_id)
        before = self._connection.execute("SELECT flags, keywords FROM copy WHERE id = ?", (copy_id,)).fetchone()
        if tuple(before) == (bits, keywords):
            return []
        self._connection.execute(
            "UPDATE copy SET flags = ?, keywords = ?, modseq = ? WHERE id = ?",
            (bits, keywords, self.boxes.next_modseq(folder), copy_id),
        )
        self.boxes.write()
        return [CopyChange(folder.mailbox.address, copy_id, ChangeKind.FLAGS, folder.name)]

    def move(self, copy_id: int, name: str) -> list[CopyChange]:
        """Into another folder of the same mailbox, under a new UID; the old one is recorded as gone."""
        source = self.folder_of(copy_id)
        if source.name == name:
            return []
        self._record_gone(copy_id, source)
        target = self.boxes.folder(source.mailbox.address, name)
        self._connection.execute(
            "UPDATE copy SET folder_id = ?, uid = ?, modseq = ? WHERE id = ?",
            (target.id, self.boxes.next_uid(target), self.boxes.next_modseq(target), copy_id),
        )
        self.boxes.write()
        return [CopyChange(source.mailbox.address, copy_id, ChangeKind.MOVED, name)]

    def remove(self, copy_ids: Iterable[int], *, by_person: bool) -> list[CopyChange]:
        """For good; their UIDs stay recorded as gone. What a person deleted is not made again by following."""
        changes = []
        for copy_id in copy_ids:
            folder = self.folder_of(copy_id)
            self._record_gone(copy_id, folder)
            if by_person:
                self._connection.execute(
                    "INSERT OR IGNORE INTO absent (message_id, mailbox_id, sent)"
                    " SELECT message_id, mailbox_id, sent FROM copy WHERE id = ?",
                    (copy_id,),
                )
            self._connection.execute("DELETE FROM copy WHERE id = ?", (copy_id,))
            changes.append(CopyChange(folder.mailbox.address, copy_id, ChangeKind.REMOVED, folder.name))
        self.boxes.write()
        return changes

    def _record_gone(self, copy_id: int, folder: Folder) -> None:
        self._connection.execute(
            "INSERT INTO expunged (folder_id, uid, modseq) SELECT folder_id, uid, ? FROM copy WHERE id = ?",
            (self.boxes.next_modseq(folder), copy_id),
        )


def split_flags(flags: set[str]) -> tuple[int, str]:
    """Bits of the system flags and the keywords, in order. Raises BadRequest."""
    bits = sum(1 << bit for bit, name in enumerate(SYSTEM_FLAGS) if name in flags)
    keywords = sorted(flags.difference(SYSTEM_FLAGS))
    for keyword in keywords:
        if not KEYWORD.fullmatch(keyword):
            raise BadRequest(f"{keyword[:80]!r} is no flag: {', '.join(SYSTEM_FLAGS)} or a keyword without blanks")
    if len(keywords) > KEYWORDS_LIMIT:
        raise BadRequest(f"A message has at most {KEYWORDS_LIMIT} keywords")
    return bits, " ".join(keywords)


def join_flags(bits: int, keywords: str) -> frozenset[str]:
    """The flags of a row."""
    return frozenset(name for bit, name in enumerate(SYSTEM_FLAGS) if bits >> bit & 1) | frozenset(keywords.split())


def check_folder(name: str) -> str:
    """The folder's name. Raises BadRequest where there is none of that name."""
    if name not in FOLDERS:
        raise BadRequest(f"There is no folder {name[:80]!r}: {', '.join(FOLDERS)}")
    return name
