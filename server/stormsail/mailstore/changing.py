"""What people and delivery change on copies, as calls on the filer's thread; each is one transaction.

In: a copy or a message, and what is to become of it. Out: rows changed, changes told. Raises NotFound, BadRequest.
"""

from __future__ import annotations

from stormsail.directory.snapshot import DirectorySnapshot

from .filer import Filer
from .filing import folder_for, mailboxes_of
from .values import INBOX

INBOX_COPIES = (
    "SELECT c.id FROM copy c JOIN folder f ON f.id = c.folder_id JOIN mailbox b ON b.id = c.mailbox_id"
    " WHERE c.message_id = ? AND b.address = ? AND f.name = ? AND c.sent = 0"
)


def patch(filer: Filer, copy_id: int, flags: set[str] | None, folder: str | None) -> None:
    """New flags, a new folder, or both."""
    file = filer.file
    mailbox = file.copies.folder_of(copy_id).mailbox.address
    if folder is not None:
        file.boxes.prepare({(mailbox, folder): 1})
    with file.transaction() as changes:
        if flags is not None:
            changes += file.copies.set_flags(copy_id, flags)
        if folder is not None:
            changes += file.copies.move(copy_id, folder)


def delete(filer: Filer, copy_id: int) -> None:
    """Removes a copy for good."""
    with filer.file.transaction() as changes:
        changes += filer.file.copies.remove([copy_id], by_person=True)


def file_refused(filer: Filer, directory: DirectorySnapshot, message_id: int, mailbox: str, folder: str) -> None:
    """Moves Inbox copies of a message that the primary refused; those that other recipients brought stay."""
    file = filer.file
    filer.follower.until(message_id)
    others = _brought_by_others(filer, directory, message_id, mailbox)
    for address in mailboxes_of(mailbox, directory):
        if address in others:
            continue
        row = file.connection.execute(INBOX_COPIES, (message_id, address, INBOX)).fetchone()
        if row is not None:
            patch(filer, row[0], None, folder)


def _brought_by_others(filer: Filer, directory: DirectorySnapshot, message_id: int, mailbox: str) -> frozenset[str]:
    """Mailboxes in which the message belongs into the Inbox for the sake of another recipient."""
    followed = filer.file.ledger.one(message_id)
    if followed is None:
        return frozenset()
    return frozenset(
        address
        for delivery in followed.deliveries
        if delivery.mailbox not in (None, mailbox) and folder_for(followed, delivery) == INBOX
        for address in mailboxes_of(delivery.mailbox or "", directory)
    )
