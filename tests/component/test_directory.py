"""The directory with its database: imports replace as a whole, survive a restart and never harm what was there."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stormsail.directory import Directory, DomainRule, EntryKind
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadRequest, Conflict, StoreError, TemporaryError
from testkit.clock import SetClock

DOMAINS = [DomainRule("example.com", "sandbox", "verify")]
DAY_S = 86_400
PEOPLE = (
    "address,name,segment,kind,members\n"
    "ann@example.com,Ann,london,,\n"
    "bo@example.com,Bo,leeds,,\n"
    "all@example.com,,,group,ann@example.com\n"
)


@asynccontextmanager
async def opened(data_dir: Path, clock: SetClock | None = None) -> AsyncIterator[Directory]:
    directory = Directory(data_dir, clock or SetClock(), DOMAINS, "+")
    await directory.start()
    try:
        yield directory
    finally:
        await directory.stop()


def test_a_new_directory_knows_nobody_and_has_no_age(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            assert directory.snapshot.is_ours("example.com")
            assert directory.summary().mailboxes == 0
            assert directory.summary().age_s is None

    asyncio.run(story())


def test_an_import_is_there_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with opened(tmp_path, clock) as directory:
            result = await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            assert (result.entries, result.added, result.removed, result.changed) == (3, 3, 0, 0)
            before = directory.snapshot
        clock.advance(60)
        async with opened(tmp_path, clock) as directory:
            assert directory.snapshot == before
            summary = directory.summary()
            assert (summary.mailboxes, summary.segments, summary.age_s) == (2, 2, 60)
            (run,) = await directory.list_imports(10)
            assert (run.actor, run.source, run.added, run.forced) == ("root", "import", 3, False)

    asyncio.run(story())


def test_an_import_that_would_remove_half_of_the_company_changes_nothing_without_force(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            before = directory.snapshot
            with pytest.raises(Conflict):
                await directory.import_csv("address\nann@example.com\n", force=False, source="import", actor="root")
            assert directory.snapshot is before
            result = await directory.import_csv("address\nann@example.com\n", force=True, source="import", actor="root")
            assert result.removed_addresses == ("all@example.com", "bo@example.com")
            assert result.changed == 1
            assert [run.forced for run in await directory.list_imports(10)] == [True, False]

    asyncio.run(story())


def test_an_import_with_a_mistake_changes_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            before = directory.snapshot
            with pytest.raises(BadRequest, match="line 3"):
                await directory.import_csv("address\nann@example.com\nbo@\n", force=True, source="import", actor="root")
            assert directory.snapshot is before

    asyncio.run(story())


def test_file_and_command_are_two_sources_and_each_replaces_its_own(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "mailboxes.csv"
        path.write_text("address\ncy@example.com\n", "utf-8-sig")
        async with opened(tmp_path) as directory:
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            await directory.import_file(path, force=False, actor="config")
            assert len(directory.snapshot.entries) == 4
            await directory.import_csv("address\nann@example.com\n", force=True, source="import", actor="root")
            assert sorted(directory.snapshot.entries) == ["ann@example.com", "cy@example.com"]

    asyncio.run(story())


def test_a_file_is_as_old_as_its_last_change(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        path = tmp_path / "mailboxes.csv"
        path.write_text(PEOPLE, "utf-8")
        os.utime(path, (clock.now_ms() / 1000 - 2 * DAY_S,) * 2)
        async with opened(tmp_path, clock) as directory:
            await directory.import_file(path, force=False, actor="config")
            assert directory.summary().age_s == 2 * DAY_S

    asyncio.run(story())


def test_a_file_in_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    async def story() -> None:
        path = tmp_path / "mailboxes.csv"
        path.write_bytes("address,name\nann@example.com,Ann\nbo@example.com,Bö\n".encode("latin-1"))
        async with opened(tmp_path) as directory:
            with pytest.raises(BadRequest, match=r"line 3: mailboxes\.csv is not in UTF-8"):
                await directory.import_file(path, force=False, actor="config")
            with pytest.raises(BadRequest, match="cannot be read"):
                await directory.import_file(tmp_path / "missing.csv", force=False, actor="config")

    asyncio.run(story())


def test_imports_at_the_same_time_come_one_after_another(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            texts = [f"address\n{PEOPLE.splitlines()[1].split(',')[0]}\np{number}@example.com\n" for number in range(5)]
            await asyncio.gather(
                *(
                    directory.import_csv(text, force=True, source=f"s{at}", actor="root")
                    for at, text in enumerate(texts)
                )
            )
            assert len(directory.snapshot.entries) == 6

    asyncio.run(story())


def test_a_cancelled_import_is_done_or_not_done_but_never_half(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            task = asyncio.create_task(directory.import_csv(PEOPLE, force=False, source="import", actor="root"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await directory.import_csv("address\nbo@example.com\n", force=False, source="other", actor="root")
            in_memory = set(directory.snapshot.entries)
        async with opened(tmp_path) as directory:
            assert set(directory.snapshot.entries) == in_memory

    asyncio.run(story())


def test_reloaded_domains_are_in_the_next_picture(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            directory.reconfigure([*DOMAINS, DomainRule("example.de", "sandbox", "accept")], None)
            assert directory.snapshot.is_ours("example.de")
            assert directory.snapshot.resolve(parse_address("ann@example.com")) is not None
            assert directory.snapshot.resolve(parse_address("ann+x@example.com")) is None

    asyncio.run(story())


def test_a_learnt_address_is_believed_for_seven_days_and_listed(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with opened(tmp_path, clock) as directory:
            await directory.learn("New@Example.com", True)
        async with opened(tmp_path, clock) as directory:
            assert directory.learnt("new@example.com", clock.now_ms()) is True
            assert [item.address for item in directory.list_learnt()] == ["new@example.com"]
            clock.advance(7 * DAY_S)
            assert directory.learnt("new@example.com", clock.now_ms()) is None
            assert directory.list_learnt() == []

    asyncio.run(story())


def test_a_refused_address_is_believed_for_an_hour(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with opened(tmp_path, clock) as directory:
            await directory.learn("nobody@example.com", False)
            assert directory.learnt("nobody@example.com", clock.now_ms()) is False
            clock.advance(3600)
            assert directory.learnt("nobody@example.com", clock.now_ms()) is None

    asyncio.run(story())


def test_the_last_answer_counts_also_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with opened(tmp_path, clock) as directory:
            await directory.learn("ann@example.com", True)
            await directory.learn("ann@example.com", False)
            assert directory.learnt("ann@example.com", clock.now_ms()) is False
        async with opened(tmp_path, clock) as directory:
            assert directory.learnt("ann@example.com", clock.now_ms()) is None

    asyncio.run(story())


def test_an_address_that_is_imported_later_is_not_listed_as_learnt(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            await directory.learn("ann@example.com", True)
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            assert directory.list_learnt() == []

    asyncio.run(story())


def test_entries_are_listed_by_address_in_pages(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")
            first = directory.list_entries(limit=2)
            assert [entry.address for entry in first] == ["all@example.com", "ann@example.com"]
            rest = directory.list_entries(after=first[-1].address, limit=2)
            assert [entry.address for entry in rest] == ["bo@example.com"]
            assert [entry.address for entry in directory.list_entries("BO", limit=9)] == ["bo@example.com"]
            assert [entry.address for entry in directory.list_entries(segment="london", limit=9)] == ["ann@example.com"]
            assert directory.list_entries(kind=EntryKind.CONTACT, limit=9) == []

    asyncio.run(story())


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path):
            pass
        with sqlite3.connect(tmp_path / "directory.db") as connection:
            connection.execute("PRAGMA user_version=999")
        with pytest.raises(StoreError, match="newer"):
            await Directory(tmp_path, SetClock(), DOMAINS, "+").start()

    asyncio.run(story())


def test_a_closed_directory_says_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with opened(tmp_path) as directory:
            pass
        with pytest.raises(TemporaryError):
            await directory.import_csv(PEOPLE, force=False, source="import", actor="root")

    asyncio.run(story())
