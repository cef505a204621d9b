"""The live stream: what `GET /api/v1/stream` and `/api/v1/stream/recent` carry.

Each item has an id that grows, also over restarts; a reader says the last one it saw. `reset` means that items were
missed: read everything anew. `bye` means that the gateway ends the stream.
"""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer

StreamKind = Literal["status", "verdict", "event", "queue", "mailbox", "coverage", "reset", "bye"]


class MailboxChange(Answer, frozen=True, kw_only=True):
    """Something happened to a message in a mailbox: new, digested (now readable), flags, moved, recipients, removed."""

    mailbox: str
    message: str
    change: str
    folder: str


class EventChange(Answer, frozen=True, kw_only=True):
    """An event was started, ended, paused, closed; its figures come with the next status."""

    id: str
    scope: str
    state: str
    paused: bool
    reason: str


class StreamItem(Answer, frozen=True, kw_only=True):
    """`data` is a Status, Verdict, EventChange, QueueCounts or MailboxChange, as the kind says; null for the others.

    `coverage` means that who may send from here may have changed: look at the session again.
    """

    id: str
    at: str
    kind: StreamKind
    data: Any = None


class StreamPage(Answer, frozen=True, kw_only=True):
    """Items after the one named, the oldest first. Not `complete`: some before them are no longer kept."""

    items: list[StreamItem]
    next: str
    complete: bool
