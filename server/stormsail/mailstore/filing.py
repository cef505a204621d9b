"""Which copies a message gets, and in which folders: the rules of DESIGN §3.9 and §5, pure.

In: a message of the ledger with its deliveries, and the directory. Out: the copies to make. Only the envelope counts:
a mailbox in Bcc gets its copy, and no other copy tells of it.
"""

from __future__ import annotations

import hashlib

import msgspec

from stormsail.directory.snapshot import WITH_COPIES, DirectorySnapshot
from stormsail.domain.replies import ReplyClass, Stage, classify
from stormsail.domain.reply import parse_reply
from stormsail.domain.routing import Direction
from stormsail.domain.states import DeliveryState
from stormsail.ledger import MessageFlag
from stormsail.ledger.following import Followed, FollowedDelivery
from stormsail.mail.fields import scan_header

from .values import INBOX, JUNK, SENT

WRITTEN_HERE = frozenset({Direction.COMPOSE, Direction.SUBMISSION})
MESSAGE_ID = frozenset({b"message-id"})


class PlannedCopy(msgspec.Struct, frozen=True):
    """A copy to be made. `recipients` only for a Sent copy."""

    mailbox: str
    folder: str
    sent: bool = False
    recipients: tuple[str, ...] = ()


def plan_copies(followed: Followed, directory: DirectorySnapshot) -> list[PlannedCopy]:
    """All copies of a message; one per mailbox, and one in Sent."""
    folders: dict[str, str] = {}
    for delivery in followed.deliveries:
        folder = folder_for(followed, delivery)
        if folder is None or delivery.mailbox is None:
            continue
        for mailbox in mailboxes_of(delivery.mailbox, directory):
            if folders.get(mailbox) != INBOX:
                folders[mailbox] = folder
    copies = [PlannedCopy(mailbox, folder) for mailbox, folder in folders.items()]
    author = sent_author(followed, directory)
    if author is not None:
        copies.append(PlannedCopy(author, SENT, True, recipients_of(followed)))
    return copies


def folder_for(followed: Followed, delivery: FollowedDelivery) -> str | None:
    """Where a delivery's copy belongs; None: it has none (a recognised repeat, or refused when it came in)."""
    if delivery.state is DeliveryState.ABSORBED:
        return None
    if delivery.state is not DeliveryState.REFUSED:
        return INBOX
    if delivery.attempts == 0:
        return None
    code = delivery.reply[:3]
    reply = parse_reply(int(code) if code.isdigit() else 550, delivery.reply[3:].lstrip(" -"))
    return INBOX if classify(reply, Stage.DOT) is ReplyClass.MESSAGE_TOO_LARGE else JUNK


def mailboxes_of(key: str, directory: DirectorySnapshot) -> tuple[str, ...]:
    """The mailboxes with copies of mail to a directory key; one that has since left the directory keeps its own."""
    if key in directory.addresses or key in directory.entries:
        return directory.copies_for(key)
    return (key,)


def sent_author(followed: Followed, directory: DirectorySnapshot) -> str | None:
    """The mailbox whose Sent folder gets a copy; None where nobody's does."""
    message = followed.message
    by_connector = message.direction is Direction.CONNECTOR and message.flags & MessageFlag.SENT_COPY
    if message.author is None or not (message.direction in WRITTEN_HERE or by_connector):
        return None
    if all(folder_for(followed, delivery) is None for delivery in followed.deliveries):
        return None
    key = directory.addresses.get(message.author, message.author)
    entry = directory.entries.get(key)
    return key if entry is None or entry.kind in WITH_COPIES else None


def recipients_of(followed: Followed) -> tuple[str, ...]:
    """The envelope's recipients, each once."""
    return tuple(dict.fromkeys(delivery.recipient for delivery in followed.deliveries))


def needs_sent_once(followed: Followed) -> bool:
    """Whether the primary may have split the message, so that its Sent copy could be there already."""
    return followed.message.direction is Direction.CONNECTOR


def sent_hash(content: bytes) -> bytes:
    """What two messages have in common that the primary split from one: Message-ID and body (DESIGN §5)."""
    header = scan_header(content, MESSAGE_ID)
    digest = hashlib.sha256()
    for value in header.values(b"message-id"):
        digest.update(value + b"\n")
    digest.update(b"\n")
    digest.update(memoryview(content)[header.length :])
    return digest.digest()


def raw_prefix(reverse_path: str, head: bytes) -> bytes:
    """What stands in front of a message's content in a mailbox (RFC 5321 §4.4, DESIGN §3.2)."""
    return b"Return-Path: <" + reverse_path.encode("utf-8", "replace") + b">\r\n" + head
