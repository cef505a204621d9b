"""What the mailstore gives and takes, as values."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stormsail.digest import Correspondent, PartNode

INBOX = "inbox"
SENT = "sent"
DRAFTS = "drafts"
ARCHIVE = "archive"
TRASH = "trash"
JUNK = "junk"
FOLDERS = (INBOX, SENT, DRAFTS, ARCHIVE, TRASH, JUNK)
SYSTEM_FLAGS = ("seen", "answered", "flagged", "deleted", "draft")
"""In the order of their bits; everything else is a keyword (RFC 9051 §2.3.2)."""


class CopyState(StrEnum):
    """How far a message has been made readable."""

    PREPARING = "preparing"
    READY = "ready"
    UNREADABLE = "unreadable"
    """It could not be taken apart; listed and downloadable all the same."""
    DAMAGED = "damaged"
    """Its stored bytes are not what was written."""


class ChangeKind(StrEnum):
    NEW = "new"
    DIGESTED = "digested"
    FLAGS = "flags"
    MOVED = "moved"
    RECIPIENTS = "recipients"
    """A Sent copy turned out to have gone to more people."""
    REMOVED = "removed"


class CopyChange(msgspec.Struct, frozen=True):
    """Something happened to a copy; `mailbox` is its owner's key."""

    mailbox: str
    copy_id: int
    kind: ChangeKind
    folder: str = ""


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """A message in a mailbox. Until it is ready, subject, author and preview are empty."""

    id: int
    mailbox: str
    folder: str
    message_id: int
    """The ledger's id of the message."""
    uid: int
    modseq: int
    flags: frozenset[str]
    internal_date: int
    size: int
    """Octets of `raw`."""
    state: CopyState
    problem: str
    subject: str
    author: Correspondent
    date: int | None
    """What its Date field says."""
    header_message_id: str
    preview: str
    attachments: int
    to: tuple[Correspondent, ...] = ()
    recipients: tuple[str, ...] = ()
    """Of the envelope; only in a Sent copy, which is its author's."""


class CopyPage(msgspec.Struct, frozen=True):
    """Copies, the newest first; `next` is the `before` of the page after it."""

    copies: tuple[Copy, ...]
    next: str | None


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A copy to be read. `html` is sanitised and loads nothing from elsewhere."""

    copy: Copy
    text: str = ""
    html: str = ""
    remote_images: int = 0
    headers: tuple[tuple[str, str], ...] = ()
    cc: tuple[Correspondent, ...] = ()
    reply_to: tuple[Correspondent, ...] = ()
    references: tuple[str, ...] = ()
    in_reply_to: tuple[str, ...] = ()
    attachments: tuple[PartNode, ...] = ()


class Attachment(msgspec.Struct, frozen=True):
    """A part to download. The type is the sender's claim: serve it as an attachment, without sniffing."""

    file_name: str
    content_type: str
    content: bytes


class FolderCount(msgspec.Struct, frozen=True):
    total: int = 0
    unread: int = 0


class Lag(msgspec.Struct, frozen=True):
    """How far the copies are behind: messages without rows, messages not yet readable, age of the oldest of both."""

    unfiled: int
    undigested: int
    oldest_age_ms: int
    trouble: str = ""


class MessageSummary(msgspec.Struct, frozen=True):
    """What the header of a message says, for those who see its trace."""

    subject: str
    author: Correspondent
    message_id: str
    date: int | None


class Envelope(msgspec.Struct, frozen=True):
    """The header fields that are kept beside the columns of `message` (RFC 9051 §7.5.2)."""

    authors: tuple[Correspondent, ...] = ()
    reply_to: tuple[Correspondent, ...] = ()
    to: tuple[Correspondent, ...] = ()
    cc: tuple[Correspondent, ...] = ()
    references: tuple[str, ...] = ()
    in_reply_to: tuple[str, ...] = ()
    auto_submitted: str = ""


class ShownText(msgspec.Struct, frozen=True):
    """What `search-DAY.db` keeps of a message to show it."""

    text: str = ""
    html: str = ""
    remote_images: int = 0
    headers: tuple[tuple[str, str], ...] = ()
