"""The live stream: what `GET /api/v1/stream` and `/api/v1/stream/recent` carry.

Each item has an id that grows, also over restarts; a reader says the last one it saw. `reset` means that items were
missed: read everything anew. `bye` means that the gateway ends the stream.
"""

from __future__ import annotations

from typing import Any, Literal

from .base import Answer

StreamKind = Literal["status", "verdict", "event", "queue", "mailbox", "coverage", "reset", "bye"]


class MailboxChange(Answer, frozen=True, kw_only=True):
    """Something changed in a mailbox: a new or changed copy, or (without one) more than that."""

    mailbox: str
    folder: str | None = None
    message_id: str | None = None
    change: str = "changed"


class StreamItem(Answer, frozen=True, kw_only=True):
    """`data` is what the kind says: a Status, Verdict, Event, QueueCounts or MailboxChange; null for the others."""

    id: str
    at: str
    kind: StreamKind
    data: Any = None


class StreamPage(Answer, frozen=True, kw_only=True):
    """Items after the one named, the oldest first. Not `complete`: some before them are no longer kept."""

    items: list[StreamItem]
    next: str
    complete: bool
