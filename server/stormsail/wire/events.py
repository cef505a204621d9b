"""Continuity events: asking for one, how it stands, its balance (DESIGN §5)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Answer, Asked
from .queue import Delivery

EventState = Literal["active", "draining", "closed"]


class ActivateRequest(Asked, frozen=True, kw_only=True):
    """`scope` is all, domain:NAME, segment:NAME or mailbox:ADDRESS."""

    scope: Annotated[str, Meta(min_length=1, max_length=600)]
    reason: Annotated[str, Meta(min_length=1, max_length=2000)]


class EndRequest(Asked, frozen=True, kw_only=True):
    """`force` ends the event even where the test delivery is refused."""

    force: bool = False


class Event(Answer, frozen=True, kw_only=True):
    """An event as it stands; `held` and `handed_back` count deliveries."""

    id: str
    scope: str
    state: str
    started_at: str
    started_by: str
    reason: str
    held: int
    handed_back: int
    eta_s: int | None
    paused: bool = False
    ended_at: str | None = None
    ended_by: str | None = None
    closed_at: str | None = None


class EventList(Answer, frozen=True, kw_only=True):
    events: list[Event]


class EventLine(Answer, frozen=True, kw_only=True):
    """A line of an event's timeline."""

    at: str
    kind: str
    actor: str
    detail: str


class Balance(Answer, frozen=True, kw_only=True):
    """came_in = handed_back + filed_only_here + refused + dropped + still_open, counted in deliveries."""

    came_in: int
    handed_back: int
    filed_only_here: int
    refused: int
    """Refused or bounced by the primary, or expired."""
    dropped: int
    still_open: int


class MailboxBalance(Balance, frozen=True, kw_only=True):
    """The balance of one mailbox."""

    mailbox: str


class EventReport(Answer, frozen=True, kw_only=True):
    """The reconciliation report. `messages` only where asked for; its next page starts after `next`."""

    event: Event
    balance: Balance
    balanced: bool
    """Whether the sum comes out; false is a fault of ours."""
    states: dict[str, int]
    mailboxes: list[MailboxBalance]
    timeline: list[EventLine]
    messages: list[Delivery] | None = None
    next: str | None = None
