"""How things stand: `GET /api/v1/status`, what `stormsail status --json` prints."""

from __future__ import annotations

from .base import Answer
from .events import Event


class Verdict(Answer, frozen=True, kw_only=True):
    """What the observations of a scope and component amount to."""

    scope: str
    component: str
    verdict: str
    since: str
    statement: str


class QueueCounts(Answer, frozen=True, kw_only=True):
    """Open deliveries by state, and how long the oldest has been open."""

    queued: int = 0
    active: int = 0
    deferred: int = 0
    held: int = 0
    shielded: int = 0
    outcome_unknown: int = 0
    oldest_age_s: int | None = None


class Totals(Answer, frozen=True, kw_only=True):
    """Deliveries by final state; `accepted` counts all, so that it is the sum of these and the open ones."""

    accepted: int = 0
    relayed: int = 0
    sent: int = 0
    filed: int = 0
    bounced: int = 0
    refused: int = 0
    expired: int = 0
    dropped: int = 0
    absorbed: int = 0


class DirectoryState(Answer, frozen=True, kw_only=True):
    """How much the directory knows; `age_s` is null where nothing was ever imported."""

    mailboxes: int
    segments: int
    age_s: int | None


class Alert(Answer, frozen=True, kw_only=True):
    """Something that wants a person's eye."""

    id: str
    at: str
    severity: str
    statement: str


class Readiness(Answer, frozen=True, kw_only=True):
    """Whether people could work here now: mailboxes of persons, accounts that can sign in, devices that get push."""

    people: int
    can_sign_in: int
    push_proven: int


class OwnHealth(Answer, frozen=True, kw_only=True):
    """One thing about the gateway itself."""

    name: str
    ok: bool
    detail: str


class Status(Answer, frozen=True, kw_only=True):
    """Everything at a glance. A part that is not built yet is an empty list or null."""

    version: str
    hostname: str
    at: str
    uptime_s: int
    verdicts: list[Verdict]
    events: list[Event]
    queue: QueueCounts
    totals: Totals
    directory: DirectoryState
    alerts: list[Alert]
    readiness: Readiness
    own_health: list[OwnHealth]
