"""The primary's mailboxes: messages as files, one folder a mailbox folder, an index in memory (like a Maildir).

In: messages, flags. Out: messages by UID, kept over a restart; UIDs are never given twice (RFC 3501 §2.3.1.1). A file
is named `UID.SECONDS.FLAGS.eml`; it is written beside and renamed, so a crash leaves no half message.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

INBOX = "INBOX"
FOLDERS = (INBOX, "Sent", "Junk", "Trash")
FLAG_LETTERS = {"\\Seen": "S", "\\Answered": "R", "\\Flagged": "F", "\\Deleted": "T", "\\Draft": "D"}
LETTER_FLAGS = {letter: flag for flag, letter in FLAG_LETTERS.items()}
NEXT_UID = "next-uid"


class Stored(msgspec.Struct):
    """One message in a folder."""

    uid: int
    at: int
    size: int
    flags: frozenset[str]
    path: Path

    def read(self) -> bytes:
        return self.path.read_bytes()


class Folder:
    """A folder of one mailbox; `messages` by UID, in order."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self.messages: dict[int, Stored] = {}
        self._load()

    @property
    def uid_next(self) -> int:
        return self._uid_next

    def add(self, content: bytes, flags: Iterable[str] = ()) -> Stored:
        """Keeps a message under the next UID."""
        uid, at, wanted = self._uid_next, int(time.time()), frozenset(flags)
        self._uid_next += 1
        self._remember()
        path = self._path / _file_name(uid, at, wanted)
        fresh = self._path / f".{uid}"
        fresh.write_bytes(content)
        fresh.rename(path)
        self.messages[uid] = Stored(uid, at, len(content), wanted, path)
        return self.messages[uid]

    def set_flags(self, uid: int, flags: frozenset[str]) -> None:
        """Replaces a message's flags; those that are no system flags are forgotten."""
        stored = self.messages[uid]
        stored.flags = flags & frozenset(FLAG_LETTERS)
        path = self._path / _file_name(uid, stored.at, stored.flags)
        stored.path.rename(path)
        stored.path = path

    def remove(self, uid: int) -> None:
        self.messages.pop(uid).path.unlink(missing_ok=True)

    def _load(self) -> None:
        for path in self._path.glob("*.eml"):
            uid, at, letters = path.name.removesuffix(".eml").split(".")
            flags = frozenset(LETTER_FLAGS[letter] for letter in letters)
            self.messages[int(uid)] = Stored(int(uid), int(at), path.stat().st_size, flags, path)
        self.messages = dict(sorted(self.messages.items()))
        try:
            validity, uid_next = (self._path / NEXT_UID).read_text().split()
        except FileNotFoundError:
            validity, uid_next = str(int(time.time())), "1"
        self.uid_validity = int(validity)
        self._uid_next = max(int(uid_next), max(self.messages, default=0) + 1)
        self._remember()

    def _remember(self) -> None:
        fresh = self._path / f".{NEXT_UID}"
        fresh.write_text(f"{self.uid_validity} {self._uid_next}")
        os.replace(fresh, self._path / NEXT_UID)


class Mailboxes:
    """All mailboxes of the primary, by address."""

    def __init__(self, root: Path, addresses: Iterable[str]) -> None:
        self._folders = {
            (address, name): Folder(root / address.replace("/", "_") / name)
            for address in addresses
            for name in FOLDERS
        }

    def folder(self, address: str, name: str) -> Folder | None:
        """A folder by name; the inbox's is the same in any case (RFC 3501 §5.1)."""
        return self._folders.get((address, INBOX if name.upper() == INBOX else name))

    def deliver(self, address: str, content: bytes, name: str = INBOX, flags: Iterable[str] = ()) -> None:
        """Puts a message into a folder of somebody's mailbox."""
        self._folders[(address, name)].add(content, flags)

    def total(self) -> int:
        """How many messages lie in all inboxes."""
        return sum(len(folder.messages) for (_, name), folder in self._folders.items() if name == INBOX)


def _file_name(uid: int, at: int, flags: frozenset[str]) -> str:
    letters = "".join(sorted(FLAG_LETTERS[flag] for flag in flags if flag in FLAG_LETTERS))
    return f"{uid}.{at}.{letters}.eml"
