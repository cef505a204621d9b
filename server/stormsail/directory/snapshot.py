"""The directory as the accept path sees it: an immutable picture in memory, replaced as a whole.

In: an address. Out: who that is here. No I/O; lookups are dictionary look-ups.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from stormsail.domain.address import Address, parse_address


class EntryKind(StrEnum):
    MAILBOX = "mailbox"
    SHARED = "shared"
    GROUP = "group"
    CONTACT = "contact"
    RESOURCE = "resource"


WITH_COPIES = frozenset({EntryKind.MAILBOX, EntryKind.SHARED, EntryKind.RESOURCE})
"""Kinds that have a mailbox with copies here; a group has its members', a contact has none."""
GROUP_DEPTH = 10


class Entry(msgspec.Struct, frozen=True):
    """One line of the directory; addresses are keys (`Address.key`)."""

    address: str
    name: str
    segment: str | None
    kind: EntryKind
    aliases: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


class DomainRule(msgspec.Struct, frozen=True):
    """A domain of ours: which primary has it, and what becomes of recipients nobody knows."""

    name: str
    primary: str
    unknown_recipients: str


class DirectorySnapshot(msgspec.Struct, frozen=True):
    """Everything known about recipients of ours at one moment. `addresses` has aliases too, pointing to entries."""

    domains: dict[str, DomainRule] = {}
    entries: dict[str, Entry] = {}
    addresses: dict[str, str] = {}
    loaded_at: int | None = None
    """When the directory was last imported, ms since the epoch; None: never."""
    plus_delimiter: str | None = "+"

    def is_ours(self, domain: str) -> bool:
        return domain in self.domains

    def resolve(self, address: Address) -> Entry | None:
        """The entry an address of ours belongs to, by its own name, an alias or without its tag."""
        found = self.addresses.get(address.key)
        if found is None and self.plus_delimiter is not None:
            found = self.addresses.get(address.without_tag(self.plus_delimiter).key)
        return self.entries.get(found) if found is not None else None

    def copies_for(self, address: str) -> tuple[str, ...]:
        """Keys of the mailboxes here that get a copy of mail to the entry `address`: itself, or a group's members."""
        return tuple(self._expand(address, GROUP_DEPTH, set()))

    def _expand(self, address: str, depth: int, seen: set[str]) -> list[str]:
        entry = self.entries.get(self.addresses.get(address, address))
        if entry is None or entry.address in seen:
            return []
        seen.add(entry.address)
        if entry.kind in WITH_COPIES:
            return [entry.address]
        if entry.kind is not EntryKind.GROUP or depth == 0:
            return []
        return [mailbox for member in entry.members for mailbox in self._expand(member, depth - 1, seen)]


def make_snapshot(
    entries: list[Entry], domains: list[DomainRule], loaded_at: int | None, plus_delimiter: str | None
) -> DirectorySnapshot:
    """The picture of these entries. An alias that is also somebody's own address belongs to that somebody."""
    addresses = {alias: entry.address for entry in entries for alias in entry.aliases}
    addresses |= {entry.address: entry.address for entry in entries}
    return DirectorySnapshot(
        {rule.name: rule for rule in domains},
        {entry.address: entry for entry in entries},
        addresses,
        loaded_at,
        plus_delimiter,
    )


def key_of(text: str) -> str:
    """The directory key of a written address. Raises BadAddress."""
    return parse_address(text).key


def inherited(old: DirectorySnapshot, new: DirectorySnapshot) -> list[str]:
    """Addresses that were mailboxes of their own and lead to another one, which was there before: their owners left."""
    gone = [
        entry.address
        for entry in old.entries.values()
        if entry.kind in WITH_COPIES and entry.address not in new.entries
    ]
    return [address for address in gone if new.addresses.get(address) in old.entries]
