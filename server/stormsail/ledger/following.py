"""How other parts follow the ledger by cursor, from threads of their own: read-only, synchronous, in batches.

In: the id behind which to go on. Out: messages in the order of acceptance with their deliveries. What is seen here is
durable already, since SQLite shows a commit only after its log was synced. Raises sqlite3.Error.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from stormsail.domain.ids import first_id_at
from stormsail.domain.states import OPEN, DeliveryState
from stormsail.store import connect_reader

from .queries import MESSAGE, OPEN_SQL, message_from
from .values import MessageRow

ID_SLACK_MS = 3_600_000
"""A message's body may lie in the next day's folder when its id was given just before midnight."""


class FollowedDelivery(msgspec.Struct, frozen=True):
    """What a follower needs of a delivery."""

    recipient: str
    mailbox: str | None
    state: DeliveryState
    attempts: int
    reply: str


class Followed(msgspec.Struct, frozen=True):
    """A message with its deliveries, in the order of its recipients."""

    message: MessageRow
    deliveries: tuple[FollowedDelivery, ...]


class LedgerFollower:
    """A connection of its own to `ledger.db`; belongs to one thread."""

    def __init__(self, path: Path) -> None:
        self._connection = connect_reader(path)
        self._connection.row_factory = sqlite3.Row

    def close(self) -> None:
        self._connection.close()

    def after(self, cursor: int, limit: int) -> list[Followed]:
        """At most `limit` messages accepted behind `cursor`, the oldest first."""
        sql = f"SELECT {MESSAGE} FROM message WHERE id > ? ORDER BY id LIMIT ?"
        return self._with_deliveries([message_from(row) for row in self._connection.execute(sql, (cursor, limit))])

    def one(self, message_id: int) -> Followed | None:
        """One message; None where the ledger does not have it."""
        sql = f"SELECT {MESSAGE} FROM message WHERE id = ?"
        rows = [message_from(row) for row in self._connection.execute(sql, (message_id,))]
        return self._with_deliveries(rows)[0] if rows else None

    def _with_deliveries(self, messages: list[MessageRow]) -> list[Followed]:
        if not messages:
            return []
        found: dict[int, list[FollowedDelivery]] = {message.id: [] for message in messages}
        sql = (
            "SELECT message_id, recipient, mailbox, state, attempts, reply FROM delivery"
            " WHERE id > ? AND id <= ? ORDER BY id"
        )
        last = messages[-1]
        for row in self._connection.execute(sql, (messages[0].id, last.id + last.recipients)):
            owner = found.get(row[0])
            if owner is not None:
                owner.append(FollowedDelivery(row[1], row[2], DeliveryState(row[3]), row[4], row[5]))
        return [Followed(message, tuple(found[message.id])) for message in messages]

    def which_exist(self, message_ids: Sequence[int]) -> frozenset[int]:
        """Those of the ids, in growing order, that are messages here."""
        sql = "SELECT id FROM message WHERE id >= ? AND id <= ?"
        wanted = frozenset(message_ids)
        rows = self._connection.execute(sql, (message_ids[0], message_ids[-1]))
        return frozenset(row[0] for row in rows if row[0] in wanted)

    def newest(self) -> int:
        """The id of the last message; 0 where there is none."""
        row = self._connection.execute("SELECT max(id) FROM message").fetchone()
        return int(row[0] or 0)

    def count_after(self, cursor: int) -> tuple[int, int | None]:
        """How many messages are behind `cursor`, and when the first of them was received."""
        sql = "SELECT count(*), min(id) FROM message WHERE id > ?"
        count, first = self._connection.execute(sql, (cursor,)).fetchone()
        if first is None:
            return 0, None
        row = self._connection.execute("SELECT received_at FROM message WHERE id = ?", (first,)).fetchone()
        return count, row[0]

    def day_is_needed(self, day: str, day_end_ms: int) -> bool:
        """Whether a message with its body in `day` has an open delivery, or was held by an event not closed yet."""
        before = first_id_at(day_end_ms + ID_SLACK_MS)
        open_one = (
            "SELECT 1 FROM delivery d JOIN message m ON m.id = d.message_id"
            f" WHERE d.state = ? AND d.state IN {OPEN_SQL} AND d.id < ? AND m.day = ? LIMIT 1"
        )
        for state in sorted(OPEN):
            if self._connection.execute(open_one, (state, before, day)).fetchone() is not None:
                return True
        held = (
            "SELECT 1 FROM event e JOIN delivery d ON d.first_event = e.id JOIN message m ON m.id = d.message_id"
            " WHERE e.state != 'closed' AND d.id < ? AND m.day = ? LIMIT 1"
        )
        return self._connection.execute(held, (before, day)).fetchone() is not None
