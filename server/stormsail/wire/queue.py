"""Deliveries: the queue, moving parts of it, and the trace of a message."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from .base import Answer, Asked


class SelectRequest(Asked, frozen=True, kw_only=True):
    """`selector`: all, id:…, recipient:…, reverse_path:…, domain:…, state:…, age:…; several narrow each other."""

    selector: Annotated[str, Meta(min_length=1, max_length=2000)]


class ChangedAnswer(Answer, frozen=True, kw_only=True):
    """How many deliveries were moved."""

    changed: int


class Delivery(Answer, frozen=True, kw_only=True):
    """One (message, recipient, next hop) with its state."""

    id: str
    message_id: str
    direction: str
    reverse_path: str
    recipient: str
    mailbox: str | None
    domain: str
    segment: str | None
    lane: str
    state: str
    received_at: str
    due_at: str | None
    """When the next attempt is due; null where none will start by itself."""
    attempts: int
    event: str | None
    """The event that held it first."""
    kept_by: str | None
    """The event whose end may let it go."""
    marked: bool
    """An earlier attempt may have arrived."""
    reply: str
    changed_at: str
    size: int


class QueuePage(Answer, frozen=True, kw_only=True):
    """Deliveries in the order of acceptance; the next page starts after `next`."""

    deliveries: list[Delivery]
    matching: int
    next: str | None


class Lane(Answer, frozen=True, kw_only=True):
    """A next hop as the delivery schedule sees it; no attempts before `open_until`, except one at a time.

    `backlog` counts the deliveries that wait for it; `last_failure` is empty once it has taken mail again.
    """

    name: str
    running: int
    backlog: int
    breaker: str
    open_until: str | None
    last_failure: str


class LaneList(Answer, frozen=True, kw_only=True):
    lanes: list[Lane]


class Step(Answer, frozen=True, kw_only=True):
    """One thing that happened to a delivery, and the state after it."""

    at: str
    input: str
    state: str
    actor: str
    remote: str
    reply: str
    latency_ms: int | None
    event: str | None


class TracedDelivery(Delivery, frozen=True, kw_only=True):
    """A delivery with everything that happened to it."""

    steps: list[Step]


class TracedMessage(Answer, frozen=True, kw_only=True):
    """A message with its envelope and what its header says of it; null where it is not digested (yet)."""

    id: str
    direction: str
    reverse_path: str
    received_at: str
    peer: str
    helo: str
    tls: str
    author: str | None
    size: int
    notes: list[str]
    """What was found at entry: bare_lf, altered, eight_bit, sent_copy."""
    header_from: str | None = field(name="from")
    subject: str | None
    message_id: str | None
    date: str | None
    deliveries: list[TracedDelivery]


class Trace(Answer, frozen=True, kw_only=True):
    """Messages that match, the newest first; `more` where there are others."""

    query: str
    messages: list[TracedMessage]
    more: bool
