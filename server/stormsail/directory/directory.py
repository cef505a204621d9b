"""Who has an address here: imported from CSV by source, kept in `directory.db`, looked up in memory.

In: CSV text or a file, call-out answers, the domains of the configuration. Out: `snapshot`, replaced as a whole after
each import, lists for people, what was learnt. Fails with BadRequest (all mistakes of a file), Conflict (an import
that would remove too much), TemporaryError (the database); then everything stays as it was.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

import aiosqlite
import msgspec

from stormsail.clock import Clock
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadAddress, BadRequest, StoreError, TemporaryError

from .importing import FILE, Plan, check_delegation, plan_import, unite
from .learnt import TAKEN_KEPT_MS, Learnt
from .rows import Held, ImportRun, open_directory, read_learnt, read_runs, read_sources, replace_source, write_learnt
from .snapshot import WITH_COPIES, DirectorySnapshot, DomainRule, Entry, EntryKind, key_of, make_snapshot

COMMAND = "import"
"""The source of imports by command; the file of the configuration is the other one."""


class ImportResult(msgspec.Struct, frozen=True):
    """What an import did. Addresses count aliases; `changed` are entries that stayed and differ."""

    source: str
    entries: int
    added: int
    removed: int
    changed: int
    added_addresses: tuple[str, ...]
    removed_addresses: tuple[str, ...]
    warnings: tuple[str, ...]


class DirectorySummary(msgspec.Struct, frozen=True):
    """The directory in figures; `age_s` is that of its oldest source, None where nothing was ever imported."""

    mailboxes: int
    segments: int
    age_s: int | None


class LearntAddress(msgspec.Struct, frozen=True):
    """An address that the primary took though the directory does not list it."""

    address: str
    at: int


class Directory:
    """`start` before use. Imports run one after another; look-ups never wait for them."""

    def __init__(self, data_dir: Path, clock: Clock, domains: list[DomainRule], plus_delimiter: str | None) -> None:
        self._data_dir = data_dir
        self._clock = clock
        self._domains = domains
        self._plus_delimiter = plus_delimiter
        self._held: dict[str, Held] = {}
        self._learnt = Learnt()
        self._importing = asyncio.Lock()
        self._connection: aiosqlite.Connection | None = None
        self.on_change: Callable[[DirectorySnapshot, DirectorySnapshot], None] = lambda old, new: None
        """Called with the old and the new picture whenever it is replaced."""
        self.snapshot: DirectorySnapshot = make_snapshot([], domains, None, plus_delimiter)

    async def start(self) -> None:
        """Opens the database and takes the picture of what it holds. Raises StoreError."""
        try:
            self._connection = await open_directory(self._data_dir)
            self._held = await read_sources(self._connection)
            learnt = await read_learnt(self._connection, self._clock.now_ms() - TAKEN_KEPT_MS)
        except sqlite3.Error as error:
            raise StoreError(f"The directory's database cannot be used: {error}") from error
        for address, at in learnt.items():
            self._learnt.note(address, True, at)
        self._take_picture(unite({name: held.entries for name, held in self._held.items()}))

    async def stop(self) -> None:
        """Closes the database; the picture stays usable."""
        async with self._importing:
            if self._connection is not None:
                await self._connection.close()
                self._connection = None

    def reconfigure(self, domains: list[DomainRule], plus_delimiter: str | None) -> None:
        """Takes the domains of a reloaded configuration."""
        self._domains = domains
        self._plus_delimiter = plus_delimiter
        self._take_picture(list(self.snapshot.entries.values()))

    async def import_file(self, path: Path, *, force: bool, actor: str) -> ImportResult:
        """Imports the file that the configuration names; it is as old as its last change. Raises BadRequest too."""
        try:
            data = await asyncio.to_thread(path.read_bytes)
            changed_at = path.stat().st_mtime_ns // 1_000_000
            text = data.decode("utf-8-sig")
        except OSError as error:
            raise BadRequest(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise BadRequest(f"line {line}: {path.name} is not in UTF-8") from error
        return await self.import_csv(text, force=force, source=FILE, actor=actor, as_of=changed_at)

    async def import_csv(
        self,
        text: str,
        *,
        force: bool,
        source: str = COMMAND,
        actor: str,
        as_of: int | None = None,
        may_delegate: bool = True,
    ) -> ImportResult:
        """Replaces what `source` brought earlier. Raises BadRequest or Conflict, and then nothing has changed.

        Without `may_delegate`, NotAllowed where somebody would get into a mailbox who was not in it.

        Runs to its end even if the caller is cancelled: database and picture never differ.
        """
        return await asyncio.shield(self._import(text, force, source, actor, as_of, may_delegate))

    async def _import(
        self, text: str, force: bool, source: str, actor: str, as_of: int | None, may_delegate: bool
    ) -> ImportResult:
        async with self._importing:
            connection = self._opened()
            held = {name: theirs.entries for name, theirs in self._held.items()}
            plan = await asyncio.to_thread(plan_import, text, source, held, self._domains, force=force)
            if not may_delegate:
                check_delegation(self.snapshot.entries, plan.union)
            now = self._clock.now_ms()
            as_of = now if as_of is None else min(as_of, now)
            counts = (len(plan.entries), len(plan.added), len(plan.removed), len(plan.changed))
            try:
                await replace_source(connection, as_of, plan.entries, ImportRun(now, source, actor, *counts, force))
            except sqlite3.Error as error:
                raise TemporaryError(f"The directory could not be written: {error}") from error
            self._held[source] = Held(as_of, plan.entries)
            self._take_picture(plan.union)
            return _result(source, plan)

    async def learn(self, address: str, taken: bool) -> None:
        """Remembers what the primary said of an address in a call-out."""
        key = key_of(address)
        now = self._clock.now_ms()
        was_taken = key in self._learnt.taken
        self._learnt.note(key, taken, now)
        if taken or was_taken:
            try:
                await write_learnt(self._opened(), key, now if taken else None)
            except sqlite3.Error as error:
                raise TemporaryError(f"A learnt address could not be written: {error}") from error

    def learnt(self, key: str, now_ms: int) -> bool | None:
        """Whether the primary took the address when last asked; None where that is not known or too long ago."""
        return self._learnt.answer(key, now_ms)

    def list_learnt(self) -> list[LearntAddress]:
        """What the primary takes and the directory does not list."""
        current = self._learnt.current(self._clock.now_ms())
        return [LearntAddress(key, at) for key, at in current.items() if key not in self.snapshot.addresses]

    def list_entries(
        self, query: str = "", *, segment: str | None = None, kind: EntryKind | None = None, after: str = "", limit: int
    ) -> list[Entry]:
        """Entries by address, those beyond `after`, whose address, alias or name contains `query`."""
        wanted = query.casefold()
        found = (
            entry
            for address, entry in sorted(self.snapshot.entries.items())
            if address > after
            and (segment is None or entry.segment == segment)
            and (kind is None or entry.kind is kind)
            and any(wanted in text.casefold() for text in (entry.address, entry.name, *entry.aliases))
        )
        return [entry for entry, _ in zip(found, range(limit), strict=False)]

    def mailbox_of(self, text: str) -> str | None:
        """The key of the mailbox here that a written address belongs to; None where there is none."""
        try:
            entry = self.snapshot.resolve(parse_address(text))
        except BadAddress:
            return None
        return entry.address if entry is not None and entry.kind in WITH_COPIES else None

    async def list_imports(self, limit: int) -> list[ImportRun]:
        """The last imports, the newest first."""
        return await read_runs(self._opened(), limit)

    def summary(self) -> DirectorySummary:
        """The figures for `status`."""
        entries = self.snapshot.entries.values()
        loaded_at = self.snapshot.loaded_at
        return DirectorySummary(
            sum(entry.kind in WITH_COPIES for entry in entries),
            len({entry.segment for entry in entries if entry.segment is not None}),
            None if loaded_at is None else max(0, self._clock.now_ms() - loaded_at) // 1000,
        )

    def _take_picture(self, union: list[Entry]) -> None:
        loaded_at = min((held.as_of for held in self._held.values()), default=None)
        old = self.snapshot
        self.snapshot = make_snapshot(union, self._domains, loaded_at, self._plus_delimiter)
        self.on_change(old, self.snapshot)

    def _opened(self) -> aiosqlite.Connection:
        if self._connection is None:
            raise TemporaryError("The directory is not open")
        return self._connection


def _result(source: str, plan: Plan) -> ImportResult:
    counts = (len(plan.entries), len(plan.added), len(plan.removed), len(plan.changed))
    return ImportResult(source, *counts, plan.added, plan.removed, plan.warnings)
