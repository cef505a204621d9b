"""Mailboxes and folders as the filer's thread holds them: ids, UIDs and MODSEQ, read once and written with each change.

In: what a transaction is about to need. Out: numbers that are never given twice. UIDs come from below a mark that an
earlier transaction made durable; after a crash counting goes on at the mark, so a UID seen by a client never names
another message, even where the last transactions are lost (RFC 9051 §2.3.1.1, DESIGN §6).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from .asking import box_token

UID_RESERVE = 256
UID_LIMIT = (1 << 32) - 1
MODSEQ_LEAP = 1_000_000
"""What MODSEQ leaps over after a crash: more than any lost tail can have held."""


class Folder:
    """A folder; `uid` is the next one to give."""

    __slots__ = ("highest", "id", "mailbox", "name", "reserved", "uid")

    def __init__(self, folder_id: int, mailbox: Mailbox, name: str, uid: int, reserved: int, highest: int) -> None:
        self.id = folder_id
        self.mailbox = mailbox
        self.name = name
        self.uid = uid
        self.reserved = reserved
        self.highest = highest


class Mailbox:
    """A mailbox; `token` stands for it in the search indices."""

    __slots__ = ("address", "folders", "id", "modseq", "token")

    def __init__(self, mailbox_id: int, address: str, token: str, modseq: int) -> None:
        self.id = mailbox_id
        self.address = address
        self.token = token
        self.modseq = modseq
        self.folders: dict[str, Folder] = {}


class Boxes:
    """All of them, loaded as they are needed. After a rollback call `forget`."""

    def __init__(self, connection: sqlite3.Connection, uidvalidity: int) -> None:
        self._connection = connection
        self._uidvalidity = uidvalidity
        self._by_address: dict[str, Mailbox] = {}
        self._folders: dict[int, Folder] = {}
        self._changed: set[Folder] = set()

    def forget(self) -> None:
        """What is in memory may not be what is in the database."""
        self._by_address.clear()
        self._folders.clear()
        self._changed.clear()

    def prepare(self, needs: Mapping[tuple[str, str], int]) -> None:
        """Makes (mailbox, folder) exist with so many UIDs reserved, in a transaction of its own where it must."""
        missing = [(key, count) for key, count in needs.items() if not self._suffices(key, count)]
        if not missing:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        for (address, name), count in missing:
            mailbox = self._mailbox(address) or self._create_mailbox(address)
            folder = mailbox.folders.get(name) or self._create_folder(mailbox, name)
            folder.reserved = min(folder.uid + count + UID_RESERVE, UID_LIMIT)
            self._connection.execute("UPDATE folder SET reserved = ? WHERE id = ?", (folder.reserved, folder.id))
        self._connection.execute("COMMIT")

    def addresses(self) -> list[str]:
        """Every mailbox there is."""
        return [row[0] for row in self._connection.execute("SELECT address FROM mailbox")]

    def rename(self, old: str, new: str) -> bool:
        """Gives a mailbox another address, inside a transaction. False where that one has a mailbox of its own."""
        if self._mailbox(new) is not None:
            return False
        self._connection.execute("UPDATE mailbox SET address = ? WHERE address = ?", (new, old))
        self.forget()
        return True

    def folder(self, address: str, name: str) -> Folder:
        """A folder that `prepare` has made."""
        mailbox = self._mailbox(address)
        assert mailbox is not None
        return mailbox.folders[name]

    def folder_by_id(self, folder_id: int) -> Folder:
        """The folder with that id, which must exist."""
        if folder_id not in self._folders:
            row = self._connection.execute(
                "SELECT m.address FROM folder f JOIN mailbox m ON m.id = f.mailbox_id WHERE f.id = ?", (folder_id,)
            ).fetchone()
            self._mailbox(row[0])
        return self._folders[folder_id]

    def next_uid(self, folder: Folder) -> int:
        """A UID of its own; only inside the transaction that makes the message visible."""
        assert folder.uid < folder.reserved
        uid = folder.uid
        folder.uid += 1
        self._changed.add(folder)
        return uid

    def next_modseq(self, folder: Folder) -> int:
        """The number of a change in that folder."""
        folder.mailbox.modseq += 1
        folder.highest = folder.mailbox.modseq
        self._changed.add(folder)
        return folder.highest

    def write(self) -> None:
        """Writes what was counted; the last statement of each transaction."""
        folders = [(folder.uid, folder.highest, folder.id) for folder in self._changed]
        mailboxes = {folder.mailbox.id: folder.mailbox.modseq for folder in self._changed}
        self._connection.executemany("UPDATE folder SET uidnext = ?, highestmodseq = ? WHERE id = ?", folders)
        self._connection.executemany(
            "UPDATE mailbox SET modseq = ? WHERE id = ?", [(modseq, key) for key, modseq in mailboxes.items()]
        )
        self._changed.clear()

    def _suffices(self, key: tuple[str, str], count: int) -> bool:
        mailbox = self._mailbox(key[0])
        folder = mailbox.folders.get(key[1]) if mailbox is not None else None
        return folder is not None and folder.uid + count <= folder.reserved

    def _mailbox(self, address: str) -> Mailbox | None:
        known = self._by_address.get(address)
        if known is not None:
            return known
        sql = "SELECT id, token, modseq FROM mailbox WHERE address = ?"
        row = self._connection.execute(sql, (address,)).fetchone()
        if row is None:
            return None
        mailbox = self._keep(Mailbox(row[0], address, row[1], row[2]))
        sql = "SELECT id, name, uidnext, reserved, highestmodseq FROM folder WHERE mailbox_id = ?"
        for number, name, uid, reserved, highest in self._connection.execute(sql, (mailbox.id,)):
            self._keep_folder(Folder(number, mailbox, name, uid, reserved, highest))
        return mailbox

    def _create_mailbox(self, address: str) -> Mailbox:
        token = box_token(address)
        sql = "INSERT INTO mailbox (address, token, modseq) VALUES (?, ?, 0)"
        number = self._connection.execute(sql, (address, token)).lastrowid
        assert number is not None
        return self._keep(Mailbox(number, address, token, 0))

    def _create_folder(self, mailbox: Mailbox, name: str) -> Folder:
        number = self._connection.execute(
            "INSERT INTO folder (mailbox_id, name, uidvalidity, uidnext, reserved, highestmodseq)"
            " VALUES (?, ?, ?, 1, 1, 0)",
            (mailbox.id, name, self._uidvalidity),
        ).lastrowid
        assert number is not None
        return self._keep_folder(Folder(number, mailbox, name, 1, 1, 0))

    def _keep(self, mailbox: Mailbox) -> Mailbox:
        self._by_address[mailbox.address] = mailbox
        return mailbox

    def _keep_folder(self, folder: Folder) -> Folder:
        folder.mailbox.folders[folder.name] = self._folders[folder.id] = folder
        return folder


def leap(connection: sqlite3.Connection) -> None:
    """After a crash: goes on at the marks, for what was given last may be lost."""
    connection.execute("UPDATE folder SET uidnext = reserved")
    connection.execute("UPDATE mailbox SET modseq = modseq + ?", (MODSEQ_LEAP,))
