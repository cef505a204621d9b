"""What one attempt is about: a message, the deliveries that go in one transaction, and how each of them ended."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from stormsail.domain.replies import ReplyClass, Stage
from stormsail.domain.reply import Reply
from stormsail.domain.routing import Direction
from stormsail.domain.scope import Subject
from stormsail.domain.states import DeliveryState
from stormsail.ledger import Acceptance, DeliveryRow, MessageFlag, MessageRow, PlannedDelivery
from stormsail.store import BodyRef


class Outgoing(msgspec.Struct):
    """A message to be sent on. `content` is there only while it is fresh; else it is read from `body`."""

    id: int
    direction: Direction
    reverse_path: str
    author: str | None
    received_at: int
    head: bytes
    body: BodyRef
    eight_bit: bool
    content: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.head) + self.body.length


class Leg(msgspec.Struct):
    """One delivery of an attempt; it is ACTIVE in the ledger while the attempt runs."""

    id: int
    recipient: str
    mailbox: str | None
    domain: str
    segment: str | None
    known: bool
    attempts: int
    first_attempt_at: int
    marked: bool
    first_event: int | None

    @property
    def subject(self) -> Subject:
        """As event coverage sees it."""
        return Subject(self.mailbox or self.recipient.lower(), self.domain, self.segment)


class LegResult(msgspec.Struct, frozen=True):
    """How a delivery's attempt ended. `covered_by`: it was not tried, an event holds it now."""

    about: ReplyClass | None
    reply: Reply
    stage: Stage
    in_doubt: bool = False
    covered_by: int | None = None

    @property
    def tells_of_next_hop(self) -> bool:
        """Whether anybody was asked: not where an event holds the mail, or where we could not begin ourselves."""
        return self.about is ReplyClass.SYSTEM or (self.about is not None and self.stage is not Stage.CONNECT)


class Attempt(msgspec.Struct):
    """A transaction to be run on a lane. `drain_of`: the event whose end it belongs to; `trial`: a failure puts it
    back on hold while that event is active; `done` gets the results."""

    message: Outgoing
    legs: list[Leg]
    drain_of: int | None = None
    trial: bool = False
    done: asyncio.Future[list[LegResult]] | None = None


def fresh_outgoing(acceptance: Acceptance, content: bytes | None, body: BodyRef) -> Outgoing:
    """The message as it was just accepted."""
    return Outgoing(
        acceptance.id,
        acceptance.direction,
        acceptance.reverse_path,
        acceptance.author,
        acceptance.received_at,
        acceptance.head,
        body,
        bool(acceptance.flags & MessageFlag.EIGHT_BIT),
        content,
    )


def stored_outgoing(row: MessageRow) -> Outgoing:
    """The message as the ledger has it."""
    return Outgoing(
        row.id,
        row.direction,
        row.reverse_path,
        row.author,
        row.received_at,
        row.head,
        row.body,
        bool(row.flags & MessageFlag.EIGHT_BIT),
    )


def fresh_legs(acceptance: Acceptance) -> dict[str, list[Leg]]:
    """The deliveries whose first attempt was recorded with the acceptance, by lane."""
    legs: dict[str, list[Leg]] = {}
    for number, planned in enumerate(acceptance.deliveries, 1):
        if planned.state is DeliveryState.ACTIVE:
            legs.setdefault(planned.lane, []).append(_fresh_leg(acceptance, number, planned))
    return legs


def _fresh_leg(acceptance: Acceptance, number: int, planned: PlannedDelivery) -> Leg:
    return Leg(
        acceptance.id + number,
        planned.recipient,
        planned.mailbox,
        planned.domain,
        planned.segment,
        planned.known,
        1,
        acceptance.received_at,
        False,
        None,
    )


def stored_leg(row: DeliveryRow, now_ms: int) -> Leg:
    """A delivery of the ledger whose next attempt begins now."""
    held = row.state is DeliveryState.HELD
    first = now_ms if held or row.first_attempt_at is None else row.first_attempt_at
    return Leg(
        row.id,
        row.recipient,
        row.mailbox,
        row.domain,
        row.segment,
        row.known,
        row.attempts + 1,
        first,
        row.marked or row.state is DeliveryState.OUTCOME_UNKNOWN,
        row.first_event,
    )


def group_by_message(rows: Sequence[DeliveryRow]) -> dict[tuple[int, bool], list[DeliveryRow]]:
    """Deliveries that may share a transaction: of one message, and alike in whether they must be marked."""
    groups: dict[tuple[int, bool], list[DeliveryRow]] = {}
    for row in rows:
        marked = row.marked or row.state is DeliveryState.OUTCOME_UNKNOWN
        groups.setdefault((row.message_id, marked), []).append(row)
    return groups
