"""Copies of messages as the API shows them, and who may see them (DESIGN §1).

In: the mailstore's values. Out: `wire` structs. A mailbox that is not theirs is closed to everybody but an owner, whose
look is audited before it happens; a message that is not theirs does not exist for them.
"""

from __future__ import annotations

from stormsail.clock import to_rfc3339
from stormsail.directory import Entry
from stormsail.domain.errors import NotAllowed, NotFound
from stormsail.domain.ids import id_to_text
from stormsail.domain.roles import Role
from stormsail.mailstore import Copy, View
from stormsail.wire import AttachmentInfo, HeaderField, MessageSummary, MessageView

from .parts import ApiParts
from .principal import Principal
from .shown import optional_time, parse_id


async def open_mailbox(parts: ApiParts, principal: Principal, address: str, action: str) -> Entry:
    """The mailbox, if the principal may look into it. Raises NotAllowed; NotFound for an owner."""
    account = principal.account
    entry = parts.access.own(address)
    if account is not None and entry is not None and parts.access.may_use(account.address, entry.address):
        return entry
    if principal.role is not Role.OWNER:
        raise NotAllowed("This mailbox is not yours")
    if entry is None:
        raise NotFound("There is no such mailbox")
    await parts.accounts.audit.record(principal.actor, action, entry.address)
    return entry


async def open_copy(parts: ApiParts, principal: Principal, message_id: str, action: str) -> Copy:
    """The copy, if the principal may see it. Raises NotFound."""
    copy = await parts.mailstore.copy(parse_id(message_id, "message"))
    if owns(parts, principal, copy):
        return copy
    if principal.role is not Role.OWNER:
        raise NotFound("There is no such message")
    await parts.accounts.audit.record(principal.actor, action, copy.mailbox, message_id)
    return copy


def owns(parts: ApiParts, principal: Principal, copy: Copy) -> bool:
    """Whether the copy is in a mailbox of the principal's own."""
    account = principal.account
    return account is not None and parts.access.may_use(account.address, copy.mailbox)


def show_copy(copy: Copy) -> MessageSummary:
    """A line of a list."""
    return MessageSummary(
        id=id_to_text(copy.id),
        mailbox=copy.mailbox,
        subject=copy.subject,
        header_from=show_person(copy.author.name, copy.author.address),
        to=[show_person(one.name, one.address) for one in copy.to],
        date=to_rfc3339(copy.internal_date),
        header_date=optional_time(copy.date),
        folder=copy.folder,
        flags=sorted(copy.flags),
        size=copy.size,
        state=copy.state,
        problem=copy.problem,
        preview=copy.preview,
        attachments=copy.attachments,
        message_id=copy.header_message_id,
        trace_id=id_to_text(copy.message_id),
        recipients=list(copy.recipients),
    )


def show_view(view: View) -> MessageView:
    """A message to be read."""
    return MessageView(
        message=show_copy(view.copy),
        text=view.text,
        html=view.html,
        remote_images=view.remote_images,
        cc=[show_person(one.name, one.address) for one in view.cc],
        reply_to=[show_person(one.name, one.address) for one in view.reply_to],
        in_reply_to=list(view.in_reply_to),
        references=list(view.references),
        headers=[HeaderField(name=name, value=value) for name, value in view.headers],
        attachments=[
            AttachmentInfo(
                part=part.number,
                name=part.file_name,
                content_type=part.content_type,
                size=part.size,
                content_id=part.content_id,
                disposition=part.disposition,
            )
            for part in view.attachments
        ],
    )


def show_person(name: str, address: str) -> str:
    """`Name <address>`, or what there is of it."""
    return f"{name} <{address}>" if name and address else name or address
