"""What goes into the ledger and comes out of it, as values."""

from __future__ import annotations

from enum import IntFlag

import msgspec

from stormsail.domain.ids import id_to_text
from stormsail.domain.routing import Direction
from stormsail.domain.scope import Scope
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.store import BodyRef


class MessageFlag(IntFlag):
    """Facts about a message that later steps need without its bytes. Stored as numbers: 8 and 32 are free."""

    NONE = 0
    BARE_LF = 1
    """Bare LF was made CRLF."""
    ALTERED = 2
    """A field was renamed at entry."""
    EIGHT_BIT = 4
    SENT_COPY = 16
    """From the connector and by the rule of DESIGN §5 a person's own: belongs into a Sent folder too."""


class PlannedDelivery(msgspec.Struct, frozen=True):
    """One recipient of a message that is being accepted, and how its delivery begins."""

    recipient: str
    mailbox: str | None
    """The directory's canonical key of the recipient, where it is known."""
    domain: str
    segment: str | None
    known: bool
    """In the directory, or learnt from the primary: the shield applies."""
    lane: str
    state: DeliveryState
    kept_by: int | None = None
    reply: str = ""
    """Why it begins as it does, where that needs a word: `repeat of ID`."""


class Acceptance(msgspec.Struct):
    """A message about to be accepted; `id` was given by `Ledger.reserve`, its deliveries follow it."""

    id: int
    direction: Direction
    reverse_path: str
    received_at: int
    peer: str
    helo: str
    tls: str
    author: str | None
    flags: MessageFlag
    head: bytes
    """Our trace fields, each line ended by CRLF; they go in front of the content wherever it goes."""
    deliveries: list[PlannedDelivery]
    fingerprints: list[bytes]
    """For `unconfirmed`, one per delivery; empty where the sender knows the outcome (compose, DSN)."""
    size: int


class MessageRow(msgspec.Struct, frozen=True):
    """A message as the ledger has it. `size` counts the content, without head."""

    id: int
    direction: Direction
    reverse_path: str
    received_at: int
    peer: str
    helo: str
    tls: str
    author: str | None
    flags: int
    recipients: int
    size: int
    head: bytes
    body: BodyRef

    @property
    def text_id(self) -> str:
        return id_to_text(self.id)


class DeliveryRow(msgspec.Struct, frozen=True):
    """A delivery as the ledger has it."""

    id: int
    message_id: int
    recipient: str
    mailbox: str | None
    domain: str
    segment: str | None
    known: bool
    lane: str
    state: DeliveryState
    due_at: int
    attempts: int
    first_attempt_at: int | None
    first_event: int | None
    """The event that held it first; stays when the delivery is final."""
    kept_by: int | None
    """The event whose end may let it go; differs from `first_event` where events overlap."""
    marked: bool
    """An earlier attempt may have arrived: what is sent now says so."""
    reply: str
    changed_at: int


class Change(msgspec.Struct):
    """One move of one delivery: done only if it is still in state `expected` (compare-and-set)."""

    delivery_id: int
    expected: DeliveryState
    happened: DeliveryInput
    at: int
    actor: str = ""
    remote: str = ""
    reply: str = ""
    latency_ms: int | None = None
    due_at: int | None = None
    """None keeps it."""
    event_id: int | None = None
    """Set with COVER and HOLD by an event: the event that keeps it."""
    marked: bool = False
    attempt: int | None = None
    """How many attempts had begun when this was decided: a move that is written again after a commit of unknown
    outcome must not be taken for one of a later attempt. None does not compare."""


class Transition(msgspec.Struct, frozen=True):
    """A move that was done."""

    delivery_id: int
    at: int
    input: str
    state: str
    actor: str
    remote: str
    reply: str
    latency_ms: int | None
    event_id: int | None


class EventRow(msgspec.Struct, frozen=True):
    """A continuity event. `state`: active, draining, closed."""

    id: int
    scope: Scope
    reason: str
    state: str
    started_at: int
    started_by: str
    ended_at: int | None
    ended_by: str | None
    closed_at: int | None
    paused: bool

    @property
    def text_id(self) -> str:
        return id_to_text(self.id)


class EventEntry(msgspec.Struct, frozen=True):
    """A line of an event's timeline."""

    event_id: int
    at: int
    kind: str
    actor: str
    detail: str
