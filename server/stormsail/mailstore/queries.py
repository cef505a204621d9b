"""Reading the copies: pages, single copies, views, raw messages, counts, search. Nothing here changes anything.

In: a mailbox's key, ids, queries. Out: values. A reader has its own connections and belongs to one thread at a time.
Raises NotFound, BadRequest, BodyDamaged; sqlite3.Error where a file cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from stormsail.digest import Correspondent
from stormsail.digest.protocol import attachments_in
from stormsail.domain.errors import NotFound
from stormsail.ledger.following import LedgerFollower
from stormsail.store import BodyFiles, connect_reader

from .asking import fts_expression, within
from .copies import check_folder
from .digested import unpack_envelope, unpack_structure
from .filing import raw_prefix
from .opening import FILE
from .rows import COPY, JOINED, LAST_DAY, MOST, copy_from, parse_before, parse_found
from .search import SearchReader
from .values import Copy, CopyPage, CopyState, FolderCount, Lag, MessageSummary, ShownText, View

NEWEST_FIRST = "ORDER BY c.internal_date DESC, c.id DESC LIMIT ?"
PAGE_LIMIT = 500
NO_SUCH_COPY = "There is no such message"
SEARCH_CHUNK = 500
SMALL_FOLDER = 2_000


class MailReader:
    """One reader; close it on the thread that used it last."""

    def __init__(
        self, data_dir: Path, ledger_path: Path, bodies: BodyFiles, on_broken: Callable[[str, int], None]
    ) -> None:
        self._connection = connect_reader(data_dir / FILE)
        self._ledger = LedgerFollower(ledger_path)
        self._bodies = bodies
        self.search = SearchReader(data_dir, on_broken)

    def close(self) -> None:
        self.search.close()
        self._ledger.close()
        self._connection.close()

    # ── lists ──

    def page(self, mailbox: str, folder: str | None, before: str | None, limit: int) -> CopyPage:
        """A page by internal date and id, the newest first."""
        limit = min(max(limit, 1), PAGE_LIMIT)
        date, copy_id = parse_before(before)
        column, owner = self._scope(mailbox, folder)
        if owner is None:
            return CopyPage((), None)
        sql = f"SELECT {COPY} FROM {JOINED} WHERE c.{column} = ? AND (c.internal_date, c.id) < (?, ?) {NEWEST_FIRST}"
        copies = [copy_from(row) for row in self._connection.execute(sql, (owner, date, copy_id, limit + 1))]
        shown = copies[:limit]
        more = len(copies) > limit
        return CopyPage(tuple(shown), f"{shown[-1].internal_date}.{shown[-1].id}" if more else None)

    def found(self, mailbox: str, folder: str | None, query: str, before: str | None, limit: int) -> CopyPage:
        """A page of what matches, newest day and message first."""
        expression = fts_expression(query)
        limit = min(max(limit, 1), PAGE_LIMIT)
        day, message_id, copy_id = parse_found(before)
        column, owner = self._scope(mailbox, folder)
        if owner is None:
            return CopyPage((), None)
        (token,) = self._required("SELECT token FROM mailbox WHERE address = ?", mailbox)
        found: list[tuple[str, Copy]] = []
        few = self._few_in(owner) if folder is not None else None
        with closing(self.search.find(within(token, expression), day, message_id)) as matches:
            for on_day, matching in matches:
                ids = matching if few is None else [number for number in matching if number in few]
                for start in range(0, len(ids), SEARCH_CHUNK):
                    for one in self._copies_of(column, owner, ids[start : start + SEARCH_CHUNK]):
                        if on_day != day or (one.message_id, one.id) < (message_id, copy_id):
                            found.append((on_day, one))
                    if len(found) > limit:
                        on_day, last = found[limit - 1]
                        mark = f"{on_day}.{last.message_id}.{last.id}"
                        return CopyPage(tuple(one for _, one in found[:limit]), mark)
        return CopyPage(tuple(one for _, one in found), None)

    def _few_in(self, folder_id: int) -> frozenset[int] | None:
        """The messages of a small folder, to pick from many matches quickly; None where they are many."""
        sql = "SELECT message_id FROM copy WHERE folder_id = ? LIMIT ?"
        ids = frozenset(row[0] for row in self._connection.execute(sql, (folder_id, SMALL_FOLDER + 1)))
        return ids if len(ids) <= SMALL_FOLDER else None

    def messages_found(self, query: str, limit: int) -> list[int]:
        """Ids of messages whose headers match, whoever has copies of them. Bodies are not an operator's to search."""
        ids: list[int] = []
        with closing(self.search.find(fts_expression(query, bodies=False), LAST_DAY, MOST)) as matches:
            for _, found in matches:
                ids += found
                if len(ids) >= limit:
                    break
        return ids[:limit]

    def _copies_of(self, column: str, owner: int, message_ids: Sequence[int]) -> list[Copy]:
        marks = ",".join("?" * len(message_ids))
        sql = (
            f"SELECT {COPY} FROM {JOINED} WHERE c.message_id IN ({marks}) AND c.{column} = ?"
            " ORDER BY c.message_id DESC, c.id DESC"
        )
        return [copy_from(row) for row in self._connection.execute(sql, (*message_ids, owner))]

    def _scope(self, mailbox: str, folder: str | None) -> tuple[str, int | None]:
        """The column and the id that narrow copies to a mailbox or one of its folders."""
        if folder is None:
            row = self._one("SELECT id FROM mailbox WHERE address = ?", (mailbox,))
            return "mailbox_id", row[0] if row is not None else None
        sql = "SELECT f.id FROM folder f JOIN mailbox b ON b.id = f.mailbox_id WHERE b.address = ? AND f.name = ?"
        row = self._one(sql, (mailbox, check_folder(folder)))
        return "folder_id", row[0] if row is not None else None

    def counts(self, mailbox: str) -> dict[str, FolderCount]:
        """Each folder that exists with its messages, all and unread."""
        sql = (
            "SELECT f.name, (SELECT count(*) FROM copy c WHERE c.folder_id = f.id),"
            " (SELECT count(*) FROM copy c WHERE c.folder_id = f.id AND c.flags & 1 = 0)"
            " FROM folder f JOIN mailbox b ON b.id = f.mailbox_id WHERE b.address = ?"
        )
        return {row[0]: FolderCount(row[1], row[2]) for row in self._connection.execute(sql, (mailbox,))}

    # ── one ──

    def copy(self, copy_id: int) -> Copy:
        """Raises NotFound."""
        row = self._one(f"SELECT {COPY} FROM {JOINED} WHERE c.id = ?", (copy_id,))
        if row is None:
            raise NotFound(NO_SUCH_COPY)
        return copy_from(row)

    def view(self, copy_id: int) -> View:
        """Raises NotFound."""
        copy = self.copy(copy_id)
        day, envelope_data, structure = self._required(
            "SELECT day, envelope, structure FROM message WHERE id = ?", copy.message_id
        )
        shown = self.search.shown(day, copy.message_id) if copy.state is not CopyState.PREPARING else ShownText()
        if shown is None:
            copy = msgspec.structs.replace(copy, state=CopyState.PREPARING)
            shown = ShownText()
        envelope = unpack_envelope(envelope_data)
        return View(
            copy=copy,
            text=shown.text,
            html=shown.html,
            remote_images=shown.remote_images,
            headers=shown.headers,
            cc=envelope.cc,
            reply_to=envelope.reply_to,
            references=envelope.references,
            in_reply_to=envelope.in_reply_to,
            attachments=attachments_in(unpack_structure(structure)),
        )

    def raw(self, copy_id: int) -> bytes:
        """The message as it lies in the mailbox. Raises NotFound, BodyDamaged."""
        return raw_message(self._ledger, self._bodies, self.copy(copy_id).message_id)

    def summary(self, message_id: int) -> MessageSummary | None:
        """What the header says; None where the message is not known or not read yet."""
        sql = (
            "SELECT subject, author_name, author_address, message_id, date FROM message"
            " WHERE id = ? AND envelope IS NOT NULL"
        )
        row = self._one(sql, (message_id,))
        return MessageSummary(row[0], Correspondent(row[1], row[2]), row[3], row[4]) if row is not None else None

    def lag(self, now_ms: int) -> Lag:
        """How far behind the copies are."""
        (cursor,) = self._required("SELECT cursor FROM follower WHERE one = ?", 1)
        unfiled, oldest_unfiled = self._ledger.count_after(cursor)
        undigested, first = self._connection.execute(
            "SELECT count(*), min(id) FROM message WHERE state = 'preparing'"
        ).fetchone()
        row = self._one("SELECT received_at FROM message WHERE id = ?", (first or 0,))
        oldest = min((at for at in (oldest_unfiled, row[0] if row else None) if at is not None), default=now_ms)
        return Lag(unfiled, undigested, max(0, now_ms - oldest))

    def _one(self, sql: str, values: Sequence[Any]) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
        return row

    def _required(self, sql: str, value: Any) -> tuple[Any, ...]:
        row = self._one(sql, (value,))
        if row is None:
            raise NotFound(NO_SUCH_COPY)
        return row


def raw_message(ledger: LedgerFollower, bodies: BodyFiles, message_id: int) -> bytes:
    """A message's octets behind Return-Path and our trace fields. Raises NotFound, BodyDamaged."""
    followed = ledger.one(message_id)
    if followed is None:
        raise NotFound("The ledger does not have this message any more")
    message = followed.message
    return raw_prefix(message.reverse_path, message.head) + bodies.read(message.body)
