"""What an import would do, worked out before anything is written. Pure.

In: the text, its source, and what every source holds now. Out: the new entries and the union with everything else,
or all mistakes at once. The union takes an entry that two sources list from the one a person imported by command.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from stormsail.domain.errors import BadRequest, Conflict, NotAllowed

from .csvfile import Reading, read_csv
from .snapshot import DomainRule, Entry, EntryKind

FILE = "file"
"""The source of the file that the configuration names; every other source goes before it."""
REMOVED_SHARE = 0.05
EXAMPLES = 5


class Plan(msgspec.Struct, frozen=True):
    """An import that can be done. Addresses include aliases; `changed` are entries that are there before and after."""

    entries: list[Entry]
    union: list[Entry]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    warnings: tuple[str, ...]


def check_delegation(before: Mapping[str, Entry], after: Sequence[Entry]) -> None:
    """Raises NotAllowed where an import would let somebody into a mailbox who was not in it: an owner's decision.

    That is a personal mailbox that becomes shared, a new member of a shared one, or an address that changes hands.
    """
    for entry in after:
        old = before.get(entry.address)
        taken = [alias for alias in entry.aliases if alias in before and alias != entry.address]
        shared = entry.kind in (EntryKind.SHARED, EntryKind.RESOURCE)
        gains = shared and old is not None and (old.kind is not entry.kind or set(entry.members) - set(old.members))
        if taken or gains:
            raise NotAllowed(f"This import would open a mailbox to others ({entry.address}); only an owner may do that")


def plan_import(
    text: str, source: str, held: dict[str, list[Entry]], domains: list[DomainRule], *, force: bool
) -> Plan:
    """Works the import out. Raises BadRequest with every mistake, Conflict where too much would go without `force`."""
    reading = read_csv(text, [rule.name for rule in domains])
    _blame_repeated(reading)
    entries = [entry for _, entry in reading.lines]
    after = held | {source: entries}
    union = unite(after)
    _blame_claims(reading, union)
    if reading.mistakes:
        raise BadRequest("\n".join(sorted(reading.mistakes, key=_line_of)))
    before = unite(held)
    old, new = {entry.address: entry for entry in before}, {entry.address: entry for entry in union}
    gone = set(_addresses(before)) - set(_addresses(union))
    touched = _touched(held.get(source, []), entries, before)
    if not force and len(gone) > REMOVED_SHARE * len(touched):
        raise Conflict(_too_many(sorted(gone), len(touched)))
    return Plan(
        entries,
        union,
        tuple(sorted(set(_addresses(union)) - set(_addresses(before)))),
        tuple(sorted(gone)),
        tuple(sorted(address for address, entry in new.items() if address in old and old[address] != entry)),
        tuple(_warnings(source, after, union, {rule.name for rule in domains})),
    )


def unite(held: dict[str, list[Entry]]) -> list[Entry]:
    """All sources together; where two list the same entry, the file's gives way."""
    union: dict[str, Entry] = {}
    for source in sorted(held, key=lambda name: (name != FILE, name)):
        union |= {entry.address: entry for entry in held[source]}
    return list(union.values())


def _addresses(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield entry.address
        yield from entry.aliases


def _touched(own: list[Entry], entries: list[Entry], before: list[Entry]) -> set[str]:
    """The addresses that an import may remove: its source's, and those of entries of another source that it replaces.

    The latter lose their aliases where the import does not list them, also at the first import of its source.
    """
    replaced = {entry.address for entry in entries}
    return {*_addresses(own), *_addresses(entry for entry in before if entry.address in replaced)}


def _line_of(mistake: str) -> int:
    return int(mistake.removeprefix("line ").partition(":")[0])


def _blame_repeated(reading: Reading) -> None:
    seen: dict[str, int] = {}
    for line, entry in reading.lines:
        if entry.address in seen:
            reading.blame(line, f"{entry.address} is on line {seen[entry.address]} already")
        seen.setdefault(entry.address, line)


def _blame_claims(reading: Reading, union: list[Entry]) -> None:
    """An address belongs to one entry only, whichever source that one is from."""
    owners: dict[str, set[str]] = {}
    for entry in [*union, *(entry for _, entry in reading.lines)]:
        for address in _addresses([entry]):
            owners.setdefault(address, set()).add(entry.address)
    lines = {entry.address: line for line, entry in reading.lines}
    for line, entry in reading.lines:
        for address in _addresses([entry]):
            others = owners.get(address, set()) - {entry.address}
            if others:
                where = ", ".join(f"{other}{_place(lines.get(other))}" for other in sorted(others))
                reading.blame(line, f"{address} of {entry.address} is also claimed by {where}")


def _place(line: int | None) -> str:
    return " of another import" if line is None else f" on line {line}"


def _too_many(gone: list[str], touched: int) -> str:
    share = 100 * len(gone) / touched
    examples = ", ".join(gone[:EXAMPLES]) + (", …" if len(gone) > EXAMPLES else "")
    return (
        f"The import would remove {len(gone)} of {touched} addresses ({share:.0f} %): {examples}. "
        "If that is meant, repeat it with --force"
    )


def _warnings(plan_of: str, held: dict[str, list[Entry]], union: list[Entry], ours: set[str]) -> Iterator[str]:
    """What is no mistake but may surprise; only about the entries of the source `plan_of`."""
    known = set(_addresses(union))
    for entry in held[plan_of]:
        for member in entry.members if entry.kind is EntryKind.GROUP else ():
            if member not in known and member.rpartition("@")[2] in ours:
                yield f"{entry.address}: its member {member} is not in the directory and gets no copy here"
    mine = {entry.address: entry for entry in held[plan_of]}
    for name, theirs in held.items():
        for entry in theirs if name != plan_of else []:
            if mine.get(entry.address, entry) != entry:
                yield f"{entry.address} is listed by two sources that differ; that of the file gives way"
    spellings: dict[str, str] = {}
    for segment in sorted({entry.segment for entry in union if entry.segment is not None}):
        other = spellings.setdefault(segment.casefold(), segment)
        if other != segment:
            yield f"The segments {other!r} and {segment!r} differ only in case and count as two"
