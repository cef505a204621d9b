"""Reading the ledger: single rows for the delivery schedule, pages and sums for people. Nothing here changes state.

Selectors are words like `state:held domain:example.com`; several narrow each other.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from stormsail.domain.errors import BadRequest, NotFound, TemporaryError
from stormsail.domain.ids import id_from_text
from stormsail.domain.routing import Direction
from stormsail.domain.states import OPEN, DeliveryState
from stormsail.store import BodyRef, open_reader

from .events import COLUMNS as EVENT_COLUMNS
from .events import event_from
from .values import DeliveryRow, EventEntry, EventRow, MessageRow, Transition

DELIVERY = (
    "d.id, d.message_id, d.recipient, d.mailbox, d.domain, d.segment, d.known, d.lane, d.state, d.due_at,"
    " d.attempts, d.first_attempt_at, d.first_event, d.kept_by, d.marked, d.reply, d.changed_at"
)
MESSAGE = (
    "id, direction, reverse_path, received_at, peer, helo, tls, author, flags, recipients, size, head,"
    " day, file, offset"
)
AGE = re.compile(r"[0-9]{1,9}")
WAITING_SQL = "('queued', 'deferred', 'shielded', 'outcome_unknown')"
OPEN_SQL = "('queued', 'active', 'deferred', 'held', 'shielded', 'outcome_unknown')"


class QueueFilter(msgspec.Struct, frozen=True):
    """Which deliveries; empty fields do not narrow. Ages are milliseconds since acceptance."""

    id: int | None = None
    recipient: str | None = None
    reverse_path: str | None = None
    domain: str | None = None
    state: DeliveryState | None = None
    lane: str | None = None
    older_than_ms: int | None = None

    def where(self, now_ms: int) -> tuple[str, list[Any]]:
        """The condition on `delivery d JOIN message m` and its values; without a state, open ones only."""
        parts: list[str] = []
        values: list[Any] = []
        if self.state is None:
            parts.append(f"d.state IN {OPEN_SQL}")
        else:
            parts.append("d.state = ?")
            values.append(self.state)
            if self.state in OPEN:
                parts.append(f"d.state IN {OPEN_SQL}")
        for column, value in (("lower(d.recipient)", self.recipient), ("lower(m.reverse_path)", self.reverse_path)):
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value.lower())
        for column, value in (("d.domain", self.domain), ("d.lane", self.lane)):
            if value is not None:
                parts.append(f"{column} = ?")
                values.append(value)
        if self.id is not None:
            parts.append("(d.message_id = ? OR d.id = ?)")
            values += [self.id, self.id]
        if self.older_than_ms is not None:
            parts.append("m.received_at < ?")
            values.append(now_ms - self.older_than_ms)
        return " AND ".join(parts), values


def parse_selector(text: str) -> QueueFilter:
    """`all`, `id:…`, `recipient:…`, `reverse_path:…`, `domain:…`, `state:…`, `age:…`. Raises BadRequest."""
    found: dict[str, Any] = {}
    words = text.split()
    if not words:
        raise BadRequest("Say which deliveries: all, or id:, recipient:, reverse_path:, domain:, state:, age:")
    for word in words:
        if word == "all":
            continue
        key, colon, value = word.partition(":")
        if not colon or not value:
            raise BadRequest(f"{word!r} is no selector: all, id:, recipient:, reverse_path:, domain:, state:, age:")
        found |= _one_selector(key, value)
    return QueueFilter(**found)


def _one_selector(key: str, value: str) -> dict[str, Any]:
    match key:
        case "id":
            number = id_from_text(value)
            if number is None:
                raise BadRequest(f"{value!r} is no message id")
            return {"id": number}
        case "recipient" | "reverse_path" | "lane":
            return {key: "" if value == "<>" else value}
        case "domain":
            return {"domain": value.lower()}
        case "state":
            if value not in list(DeliveryState):
                raise BadRequest(f"{value!r} is no state: {', '.join(DeliveryState)}")
            return {"state": DeliveryState(value)}
        case "age":
            unit = {"s": 1, "m": 60, "h": 3600, "d": 86400}.get(value[-1])
            if unit is None or AGE.fullmatch(value[:-1]) is None:
                raise BadRequest(f"{value!r} is no age: 30s, 5m, 2h or 3d")
            return {"older_than_ms": int(value[:-1]) * unit * 1000}
        case _:
            raise BadRequest(f"There is no selector {key!r}: all, id, recipient, reverse_path, domain, state, age")


class ReportLine(msgspec.Struct, frozen=True):
    """How many deliveries of one mailbox, held first by an event, are in one state now."""

    mailbox: str
    state: DeliveryState
    deliveries: int


class LedgerReader:
    """Read-only queries on a connection of its own."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> LedgerReader:
        return cls(await open_reader(path))

    async def close(self) -> None:
        await self._connection.close()

    async def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        try:
            return list(await self._connection.execute_fetchall(sql, values))
        except (sqlite3.Error, ValueError) as error:
            raise TemporaryError(f"The ledger cannot be read now: {error}") from error

    # ── one message ──

    async def message(self, message_id: int) -> MessageRow:
        """Raises NotFound."""
        rows = await self._rows(f"SELECT {MESSAGE} FROM message WHERE id = ?", (message_id,))
        if not rows:
            raise NotFound("There is no such message")
        return message_from(rows[0])

    async def deliveries(self, message_id: int) -> list[DeliveryRow]:
        """A message's deliveries, in the order of its recipients."""
        sql = (
            f"SELECT {DELIVERY} FROM delivery d JOIN message m ON m.id = ?"
            " WHERE d.id > m.id AND d.id <= m.id + m.recipients ORDER BY d.id"
        )
        rows = await self._rows(sql, (message_id,))
        return [delivery_from(row) for row in rows]

    async def messages_of_address(self, address: str, limit: int) -> list[int]:
        """Ids of the newest messages with this reverse path or recipient; looks through the ledger from its end."""
        by_recipient = "SELECT message_id FROM delivery WHERE recipient = ? COLLATE NOCASE ORDER BY id DESC LIMIT ?"
        by_author = "SELECT id FROM message WHERE reverse_path = ? COLLATE NOCASE ORDER BY id DESC LIMIT ?"
        found = {row[0] for sql in (by_recipient, by_author) for row in await self._rows(sql, (address, limit))}
        return sorted(found, reverse=True)[:limit]

    async def delivery(self, delivery_id: int) -> DeliveryRow | None:
        rows = await self._rows(f"SELECT {DELIVERY} FROM delivery d WHERE d.id = ?", (delivery_id,))
        return delivery_from(rows[0]) if rows else None

    async def transitions(self, delivery_id: int) -> list[Transition]:
        sql = (
            "SELECT delivery_id, at, input, state, actor, remote, reply, latency_ms, event_id FROM transition"
            " WHERE delivery_id = ? ORDER BY id"
        )
        return [Transition(*row) for row in await self._rows(sql, (delivery_id,))]

    async def unconfirmed(self) -> list[tuple[bytes, int]]:
        """(fingerprint, message id) of every accept whose 250 may not have arrived."""
        return [(bytes(row[0]), row[1]) for row in await self._rows("SELECT hash, message_id FROM unconfirmed")]

    # ── the schedule ──

    async def due(self, lane: str, now_ms: int, limit: int) -> list[DeliveryRow]:
        """Deliveries of a lane whose time has come, the longest due first."""
        sql = (
            f"SELECT {DELIVERY} FROM delivery d WHERE d.lane = ? AND d.due_at <= ? AND d.state IN {WAITING_SQL}"
            " ORDER BY d.due_at LIMIT ?"
        )
        return [delivery_from(row) for row in await self._rows(sql, (lane, now_ms, limit))]

    async def lanes_due(self) -> dict[str, int]:
        """Each lane with waiting deliveries and when its first one is due."""
        lanes: dict[str, int] = {}
        after = ""
        sql = (
            f"SELECT lane, due_at FROM delivery WHERE lane > ? AND state IN {WAITING_SQL} ORDER BY lane, due_at LIMIT 1"
        )
        while rows := await self._rows(sql, (after,)):
            after = rows[0]["lane"]
            lanes[after] = rows[0]["due_at"]
        return lanes

    async def waiting_counts(self) -> dict[str, int]:
        """How many deliveries wait for each lane."""
        sql = f"SELECT lane, count(*) FROM delivery WHERE state IN {WAITING_SQL} GROUP BY lane"
        return {row[0]: row[1] for row in await self._rows(sql)}

    async def waiting_domains(self, lane: str) -> list[str]:
        """The recipients' domains of what waits for the lane."""
        sql = f"SELECT DISTINCT domain FROM delivery WHERE lane = ? AND state IN {WAITING_SQL}"
        return [row[0] for row in await self._rows(sql, (lane,))]

    async def next_due(self, lane: str) -> int | None:
        """When the lane's first waiting delivery is due; None where none waits."""
        sql = f"SELECT due_at FROM delivery WHERE lane = ? AND state IN {WAITING_SQL} ORDER BY due_at LIMIT 1"
        rows = await self._rows(sql, (lane,))
        return rows[0][0] if rows else None

    # ── drains ──

    async def held_mailboxes(self, event_id: int) -> list[str]:
        """Mailboxes (or bare recipients) that have mail kept by the event."""
        mailboxes: list[str] = []
        sql = (
            "SELECT coalesce(mailbox, '') AS mailbox FROM delivery WHERE kept_by = ? AND state = 'held'"
            " GROUP BY coalesce(mailbox, '')"
        )
        for row in await self._rows(sql, (event_id,)):
            mailboxes.append(row["mailbox"])
        return mailboxes

    async def held(self, event_id: int, mailbox: str, after: int, limit: int) -> list[DeliveryRow]:
        """A mailbox's deliveries kept by the event, the oldest first; mailbox '' means recipients not known here."""
        condition = "d.mailbox = ?" if mailbox else "d.mailbox IS NULL AND ? = ''"
        sql = (
            f"SELECT {DELIVERY} FROM delivery d WHERE d.kept_by = ? AND d.state = 'held' AND {condition}"
            " AND d.id > ? ORDER BY d.id LIMIT ?"
        )
        return [delivery_from(row) for row in await self._rows(sql, (event_id, mailbox, after, limit))]

    async def closed_events_with_held(self) -> list[int]:
        """Events that are closed and hold mail all the same: there should be none."""
        sql = (
            "SELECT id FROM event WHERE state = 'closed' AND EXISTS"
            " (SELECT 1 FROM delivery WHERE kept_by = event.id AND state = 'held') ORDER BY id"
        )
        return [row[0] for row in await self._rows(sql)]

    async def held_count(self, event_id: int) -> int:
        """How many deliveries the event keeps now."""
        rows = await self._rows("SELECT count(*) FROM delivery WHERE kept_by = ? AND state = 'held'", (event_id,))
        return int(rows[0][0])

    async def event_tally(self, event_id: int) -> dict[str, int]:
        """State → deliveries, of those the event held first."""
        sql = "SELECT state, count(*) FROM delivery WHERE first_event = ? GROUP BY state"
        return {row[0]: row[1] for row in await self._rows(sql, (event_id,))}

    async def report_lines(self, event_id: int) -> list[ReportLine]:
        sql = (
            "SELECT coalesce(mailbox, recipient) AS box, state, count(*) FROM delivery WHERE first_event = ?"
            " GROUP BY box, state ORDER BY box, state"
        )
        return [ReportLine(row[0], DeliveryState(row[1]), row[2]) for row in await self._rows(sql, (event_id,))]

    async def event_deliveries(self, event_id: int, after: int, limit: int) -> list[DeliveryRow]:
        """Message by message: what the event held first, in the order of acceptance."""
        sql = f"SELECT {DELIVERY} FROM delivery d WHERE d.first_event = ? AND d.id > ? ORDER BY d.id LIMIT ?"
        return [delivery_from(row) for row in await self._rows(sql, (event_id, after, limit))]

    # ── events ──

    async def events(self, include_closed: bool = False) -> list[EventRow]:
        condition = "1" if include_closed else "state != 'closed'"
        rows = await self._rows(f"SELECT {EVENT_COLUMNS} FROM event WHERE {condition} ORDER BY id")
        return [event_from(row) for row in rows]

    async def event(self, event_id: int) -> EventRow:
        """Raises NotFound."""
        rows = await self._rows(f"SELECT {EVENT_COLUMNS} FROM event WHERE id = ?", (event_id,))
        if not rows:
            raise NotFound("There is no such event")
        return event_from(rows[0])

    async def event_entries(self, event_id: int) -> list[EventEntry]:
        sql = "SELECT event_id, at, kind, actor, detail FROM event_entry WHERE event_id = ? ORDER BY id"
        return [EventEntry(*row) for row in await self._rows(sql, (event_id,))]

    # ── for people ──

    async def tally(self) -> dict[str, int]:
        """State → deliveries, over everything."""
        return {row[0]: row[1] for row in await self._rows("SELECT state, deliveries FROM tally")}

    async def oldest_open(self) -> int | None:
        """When the oldest message with an open delivery was accepted; None where nothing is open."""
        oldest: list[int] = []
        for state in sorted(OPEN):
            sql = f"SELECT id FROM delivery WHERE state = ? AND state IN {OPEN_SQL} ORDER BY id LIMIT 1"
            oldest += [row[0] for row in await self._rows(sql, (state,))]
        return min(oldest) >> 21 if oldest else None

    async def queue(
        self, chosen: QueueFilter, now_ms: int, after: int, limit: int
    ) -> list[tuple[DeliveryRow, MessageRow]]:
        """A page of deliveries with their messages, in the order of acceptance."""
        condition, values = chosen.where(now_ms)
        sql = (
            f"SELECT {DELIVERY} FROM delivery d JOIN message m ON m.id = d.message_id"
            f" WHERE {condition} AND d.id > ? ORDER BY d.id LIMIT ?"
        )
        deliveries = [delivery_from(row) for row in await self._rows(sql, [*values, after, limit])]
        return [(delivery, await self.message(delivery.message_id)) for delivery in deliveries]

    async def queue_count(self, chosen: QueueFilter, now_ms: int) -> int:
        condition, values = chosen.where(now_ms)
        sql = f"SELECT count(*) FROM delivery d JOIN message m ON m.id = d.message_id WHERE {condition}"
        return int((await self._rows(sql, values))[0][0])

    async def primary_facts(self) -> dict[tuple[str, str], str]:
        """(primary, fact) → value."""
        return {(row[0], row[1]): row[2] for row in await self._rows("SELECT name, fact, value FROM primary_fact")}


def message_from(row: sqlite3.Row) -> MessageRow:
    """The message in a row of `MESSAGE`."""
    (number, direction, reverse_path, at, peer, helo, tls, author, flags, recipients, size, head, day, file, offset) = (
        row
    )
    body = BodyRef(day, file, offset, size)
    return MessageRow(
        number, Direction(direction), reverse_path, at, peer, helo, tls, author, flags, recipients, size, head, body
    )


def delivery_from(row: sqlite3.Row) -> DeliveryRow:
    """The delivery in a row of `DELIVERY`."""
    values = list(row)
    values[6] = bool(values[6])
    values[8] = DeliveryState(values[8])
    values[14] = bool(values[14])
    return DeliveryRow(*values)
