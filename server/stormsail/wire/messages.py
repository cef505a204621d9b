"""Mailboxes and their messages: lists, one message, changing and sending (RFC 5322 terms)."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, field

from .base import Answer, Asked

AddressText = Annotated[str, Meta(min_length=1, max_length=1000)]


class FolderCount(Answer, frozen=True, kw_only=True):
    """A folder with its messages, read and unread."""

    name: str
    total: int
    unread: int


class Mailbox(Answer, frozen=True, kw_only=True):
    """A mailbox of the account: its own, or one it is a delegate of."""

    address: str
    name: str
    kind: str
    segment: str | None
    own: bool
    may_send: bool
    folders: list[FolderCount]


class MailboxList(Answer, frozen=True, kw_only=True):
    mailboxes: list[Mailbox]


class MessageSummary(Answer, frozen=True, kw_only=True):
    """A message in a list. While its state is `preparing`, subject, from and preview are empty."""

    id: str
    mailbox: str
    subject: str
    header_from: str = field(name="from")
    to: list[str]
    date: str
    """When it came in here."""
    header_date: str | None
    """What its Date field says."""
    folder: str
    flags: list[str]
    size: int
    state: str
    """preparing, ready, unreadable (only the source can be downloaded) or damaged."""
    problem: str
    preview: str
    attachments: int
    message_id: str
    """Its Message-ID field."""
    trace_id: str
    """The id under which `trace` knows it."""
    recipients: list[str]
    """Of the envelope; only in Sent."""


class MessagePage(Answer, frozen=True, kw_only=True):
    """Newest first; the next page is asked for with `before` = `next`."""

    messages: list[MessageSummary]
    next: str | None


class HeaderField(Answer, frozen=True, kw_only=True):
    name: str
    value: str


class AttachmentInfo(Answer, frozen=True, kw_only=True):
    """One part that can be downloaded at `/messages/{id}/attachments/{part}`."""

    part: str
    name: str
    content_type: str
    size: int
    content_id: str
    disposition: str


class MessageView(Answer, frozen=True, kw_only=True):
    """One message, ready to be shown. `html` is sanitised and loads nothing from elsewhere."""

    message: MessageSummary
    text: str
    html: str
    remote_images: int
    """How many pictures from elsewhere were left out."""
    cc: list[str]
    reply_to: list[str]
    in_reply_to: list[str]
    references: list[str]
    headers: list[HeaderField]
    attachments: list[AttachmentInfo]


class PatchRequest(Asked, frozen=True, kw_only=True):
    """`flags` replaces all flags, `folder` moves; what is left out stays."""

    flags: Annotated[list[Annotated[str, Meta(min_length=1, max_length=64)]], Meta(max_length=32)] | None = None
    folder: Annotated[str, Meta(min_length=1, max_length=255)] | None = None


class SendRequest(Asked, frozen=True, kw_only=True):
    """A message to send. `from` is a mailbox of the account, or an alias of it; left out, the account's own.

    `in_reply_to` is the id of a message here that this one answers.
    """

    author: AddressText | None = field(name="from", default=None)
    to: Annotated[list[AddressText], Meta(max_length=1000)] = field(default_factory=list)
    cc: Annotated[list[AddressText], Meta(max_length=1000)] = field(default_factory=list)
    bcc: Annotated[list[AddressText], Meta(max_length=1000)] = field(default_factory=list)
    subject: Annotated[str, Meta(max_length=4000)] = ""
    text: str = ""
    in_reply_to: Annotated[str, Meta(max_length=64)] | None = None


class SentAnswer(Answer, frozen=True, kw_only=True):
    """A message that was accepted for sending; `id` is what `trace` knows it by, `message_id` its Message-ID."""

    id: str
    message_id: str
    recipients: list[str]
