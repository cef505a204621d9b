"""Whose mailbox is whose: staff have the one of their address, and shared ones they are members of.

In: an account's address, the directory's snapshot. Out: directory entries. No I/O.
"""

from __future__ import annotations

from stormsail.directory import Directory, DirectorySnapshot, Entry, EntryKind
from stormsail.directory.snapshot import WITH_COPIES
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadAddress, NotFound

DELEGATED_KINDS = frozenset({EntryKind.SHARED, EntryKind.RESOURCE})


class MailboxAccess:
    """Answers from the newest snapshot."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._snapshot: DirectorySnapshot | None = None
        self._delegates: dict[str, list[str]] = {}

    def own(self, address: str) -> Entry | None:
        """The mailbox of an account's address, which may be one of its aliases; None where there is none."""
        try:
            entry = self._directory.snapshot.resolve(parse_address(address))
        except BadAddress:
            return None
        return entry if entry is not None and entry.kind in WITH_COPIES else None

    def usable(self, address: str) -> list[Entry]:
        """The account's own mailbox, then those it is a delegate of."""
        own = self.own(address)
        if own is None:
            return []
        entries = self._directory.snapshot.entries
        shared = [entries[key] for key in self._delegations().get(own.address, ()) if key in entries]
        return [own, *(entry for entry in shared if entry.address != own.address)]

    def may_use(self, address: str, mailbox: str) -> bool:
        """Whether the account may read and send as that mailbox."""
        return any(entry.address == mailbox for entry in self.usable(address))

    def find(self, text: str) -> Entry:
        """The mailbox with this address or alias. Raises NotFound."""
        entry = self.own(text)
        if entry is None:
            raise NotFound("There is no such mailbox")
        return entry

    def _delegations(self) -> dict[str, list[str]]:
        """Mailbox → shared mailboxes it is a member of, made anew for each snapshot."""
        snapshot = self._directory.snapshot
        if snapshot is not self._snapshot:
            delegates: dict[str, list[str]] = {}
            for entry in snapshot.entries.values():
                if entry.kind in DELEGATED_KINDS:
                    for mailbox in {box for member in entry.members for box in snapshot.copies_for(member)}:
                        delegates.setdefault(mailbox, []).append(entry.address)
            self._snapshot, self._delegates = snapshot, {key: sorted(keys) for key, keys in delegates.items()}
        return self._delegates
