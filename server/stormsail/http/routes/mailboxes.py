"""Mailboxes and their messages: lists, one message in all its forms, flags and folders. Looking changes nothing."""

from __future__ import annotations

import re
from urllib.parse import quote

from litestar import Response, get, patch
from litestar.params import FromPath, FromQuery, JSONBody

from stormsail.directory import Entry
from stormsail.domain.errors import BadRequest, NotAllowed
from stormsail.http.copies import open_copy, open_mailbox, owns, show_copy, show_view
from stormsail.http.parts import ApiParts
from stormsail.http.paths import address_in
from stormsail.http.sending import may_send
from stormsail.mailstore import FOLDERS
from stormsail.wire import (
    FolderCount,
    Mailbox,
    MailboxList,
    MessagePage,
    MessageSummary,
    MessageView,
    PatchRequest,
)

from .given import STAFF, Asking, PageLimit, Parts

UNNAMEABLE = re.compile(r'[\x00-\x1f\x7f"\\/]')
PLAIN_TYPE = re.compile(r"[a-z0-9.+-]{1,60}/[a-z0-9.+-]{1,100}")
ACTIVE_TYPES = ("text/html", "image/svg", "application/xhtml", "text/xml", "application/xml", "text/javascript")


@get("/mailboxes", guards=STAFF, tags=["mail"])
async def list_mailboxes(parts: Parts, principal: Asking) -> MailboxList:
    """One's own mailbox and those one is a delegate of, with their folders."""
    account = principal.account
    usable = parts.access.usable(account.address) if account is not None else []
    return MailboxList(mailboxes=[await _show_mailbox(parts, entry, entry is usable[0]) for entry in usable])


@get("/mailboxes/{address:str}/messages", guards=STAFF, tags=["mail"])
async def list_messages(
    address: FromPath[str],
    parts: Parts,
    principal: Asking,
    folder: FromQuery[str | None] = None,
    q: FromQuery[str | None] = None,
    before: FromQuery[str | None] = None,
    limit: PageLimit = 50,
) -> MessagePage:
    """A page of messages, newest first; `q` searches them."""
    entry = await open_mailbox(parts, principal, address_in(address), "mailbox.list")
    if folder is not None and folder not in FOLDERS:
        raise BadRequest(f"There is no folder {folder!r}: {', '.join(FOLDERS)}")
    parts.mailstore.want_first(entry.address)
    page = await parts.mailstore.page(entry.address, folder, q or None, before, limit)
    return MessagePage(messages=[show_copy(copy) for copy in page.copies], next=page.next)


@get("/messages/{message_id:str}", guards=STAFF, tags=["mail"])
async def read_message(message_id: FromPath[str], parts: Parts, principal: Asking) -> MessageView:
    """One message. Reading does not mark it as read: that is the client's to say."""
    copy = await open_copy(parts, principal, message_id, "message.read")
    return show_view(await parts.mailstore.view(copy.id))


@get("/messages/{message_id:str}/raw", guards=STAFF, tags=["mail"], media_type="message/rfc822")
async def read_raw(message_id: FromPath[str], parts: Parts, principal: Asking) -> Response[bytes]:
    """The message's bytes, our trace fields first."""
    copy = await open_copy(parts, principal, message_id, "message.raw")
    return _download(await parts.mailstore.raw(copy.id), "message/rfc822", f"{message_id}.eml")


@get("/messages/{message_id:str}/attachments/{part:str}", guards=STAFF, tags=["mail"])
async def read_attachment(
    message_id: FromPath[str], part: FromPath[str], parts: Parts, principal: Asking
) -> Response[bytes]:
    """One part, always as a download."""
    copy = await open_copy(parts, principal, message_id, "message.attachment")
    found = await parts.mailstore.attachment(copy.id, part)
    kind = found.content_type.lower()
    harmless = PLAIN_TYPE.fullmatch(kind) is not None and not kind.startswith(ACTIVE_TYPES)
    return _download(found.content, kind if harmless else "application/octet-stream", found.file_name or "attachment")


@patch("/messages/{message_id:str}", guards=STAFF, tags=["mail"])
async def change_message(
    message_id: FromPath[str], data: JSONBody[PatchRequest], parts: Parts, principal: Asking
) -> MessageSummary:
    """Sets all flags, moves to another folder, or both. An owner may look into others' mail, not change it."""
    copy = await open_copy(parts, principal, message_id, "message.change")
    if not owns(parts, principal, copy):
        raise NotAllowed("This message is in a mailbox that is not yours")
    if data.folder is not None and data.folder not in FOLDERS:
        raise BadRequest(f"There is no folder {data.folder!r}: {', '.join(FOLDERS)}")
    flags = set(data.flags) if data.flags is not None else None
    return show_copy(await parts.mailstore.patch(copy.id, flags, data.folder))


async def _show_mailbox(parts: ApiParts, entry: Entry, own: bool) -> Mailbox:
    counts = await parts.mailstore.counts(entry.address)
    folders = [
        FolderCount(name=name, total=counts[name].total, unread=counts[name].unread)
        for name in [*FOLDERS, *sorted(set(counts) - set(FOLDERS))]
        if name in counts
    ]
    return Mailbox(
        address=entry.address,
        name=entry.name,
        kind=entry.kind,
        segment=entry.segment,
        own=own,
        may_send=may_send(parts, entry.address),
        folders=folders,
    )


def _download(content: bytes, content_type: str, name: str) -> Response[bytes]:
    """Bytes from outside: never shown by the browser, whatever they claim to be (RFC 6266, RFC 8187)."""
    clean = UNNAMEABLE.sub("_", name)[:200]
    plain = clean.encode("ascii", "replace").decode("ascii").replace("?", "_")
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"
    return Response(content, media_type=content_type, headers={"Content-Disposition": disposition})


ROUTES = [list_mailboxes, list_messages, read_message, read_raw, read_attachment, change_message]
