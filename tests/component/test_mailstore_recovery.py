"""What the copies come back to after deletions, restarts, crashes, lost files and the end of retention (DESIGN §6)."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from stormsail.domain.errors import NotFound, StoreError
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change
from stormsail.mailstore import ChangeKind
from testkit.clock import SetClock
from testkit.mailbox_copies import ANN, BEN, CAY, EVERYBODY, Gateway, gateway, simple

DAY_S = 86_400


def uids(data_dir: Path, folder: str = "inbox") -> tuple[int, set[int]]:
    """UIDVALIDITY of Ann's folder, and every UID it has ever given, gone ones too."""
    connection = sqlite3.connect(data_dir / "mail.db")
    where = "FROM folder f JOIN mailbox b ON b.id = f.mailbox_id"
    (validity,) = connection.execute(
        f"SELECT uidvalidity {where} WHERE b.address = ? AND f.name = ?", (ANN, folder)
    ).fetchone()
    given = connection.execute(
        f"SELECT c.uid {where} JOIN copy c ON c.folder_id = f.id WHERE b.address = ?1 AND f.name = ?2 UNION ALL"
        f" SELECT e.uid {where} JOIN expunged e ON e.folder_id = f.id WHERE b.address = ?1 AND f.name = ?2",
        (ANN, folder),
    ).fetchall()
    connection.close()
    assert len(given) == len(set(given))
    return validity, {row[0] for row in given}


async def accept_all(gate: Gateway, *subjects: str) -> None:
    for subject in subjects:
        await gate.accept(simple(subject, "words"), [ANN])
    await gate.settled()


def test_a_uid_is_never_given_twice_through_deletion_moves_and_restarts(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await accept_all(gate, "one", "two", "three")
            three, two, one = await gate.copies(ANN, "inbox")
            await gate.mailstore.delete(three.id)
            await gate.mailstore.patch(two.id, None, "archive")
            back = await gate.mailstore.patch(two.id, None, "inbox")
            assert [one.uid, two.uid, three.uid, back.uid] == [1, 2, 3, 4]
            with pytest.raises(NotFound):
                await gate.mailstore.copy(three.id)
            assert gate.changes[-1].kind is ChangeKind.MOVED
        validity, before = uids(tmp_path)
        async with gateway(tmp_path) as gate:
            await accept_all(gate, "four")
            (newest, *_) = await gate.copies(ANN, "inbox")
            assert newest.uid == 5
            assert await gate.mailstore.check() == []
        assert uids(tmp_path) == (validity, before | {5})

    asyncio.run(story())


def test_after_a_crash_that_took_the_last_rows_they_are_made_again_under_fresh_uids(tmp_path: Path) -> None:
    async def story() -> None:
        kept = tmp_path / "kept"
        kept.mkdir()
        data = tmp_path / "data"
        data.mkdir()
        async with gateway(data) as gate:
            await accept_all(gate, "one", "two")
            highest = max(copy.modseq for copy in await gate.copies(ANN))
            for path in data.glob("mail.db*"):
                shutil.copy(path, kept)
            await accept_all(gate, "lost")
            (lost, *_) = await gate.copies(ANN)
        for path in data.glob("mail.db*"):
            path.unlink()
        for path in kept.iterdir():
            shutil.copy(path, data)
        async with gateway(data) as gate:
            await gate.settled()
            copies = await gate.copies(ANN)
            assert [copy.subject for copy in copies] == ["lost", "two", "one"]
            assert copies[0].uid > lost.uid
            assert copies[0].modseq > highest + 1000
            assert await gate.found(ANN, "lost") == ["lost"]

    asyncio.run(story())


@pytest.mark.parametrize("damage", ["deleted", "overwritten", "torn"])
def test_a_mail_db_that_is_gone_is_made_again_from_ledger_and_bodies(tmp_path: Path, damage: str) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            for number in range(30):
                await gate.accept(simple(f"number {number}", "words"), [ANN, EVERYBODY])
            await gate.settled()
            ids = {copy.id for copy in await gate.copies(ANN)}
        validity, _ = uids(tmp_path)
        harm(tmp_path / "mail.db", damage)
        async with gateway(tmp_path) as gate:
            await gate.settled()
            assert len(await gate.found(ANN, "words")) == 30
            assert len(await gate.copies(BEN)) == 30
            assert not ids & {copy.id for copy in await gate.copies(ANN)}
            assert await gate.mailstore.check() == []
        assert uids(tmp_path)[0] > validity

    asyncio.run(story())


def harm(path: Path, damage: str) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    match damage:
        case "deleted":
            path.unlink()
        case "overwritten":
            path.write_bytes(b"not a database" * 1000)
        case _:
            path.write_bytes(path.read_bytes()[:5000])


def test_a_mail_db_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path):
            pass
        connection = sqlite3.connect(tmp_path / "mail.db")
        connection.execute("PRAGMA user_version = 99")
        connection.close()
        gate = Gateway(tmp_path)
        with pytest.raises(StoreError):
            await gate.start()
        await asyncio.to_thread(gate.ledger.stop)

    asyncio.run(story())


@pytest.mark.parametrize("damage", ["deleted", "overwritten", "torn"])
def test_a_search_database_that_is_gone_is_made_again(tmp_path: Path, damage: str) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await accept_all(gate, *(f"number {number}" for number in range(20)))
        (search,) = tmp_path.glob("search-*.db")
        harm(search, damage)
        async with gateway(tmp_path) as gate:
            await settled_search(gate, 20)
            (copy, *_) = await gate.copies(ANN)
            assert (await gate.mailstore.view(copy.id)).text.strip() == "words"

    asyncio.run(story())


async def settled_search(gate: Gateway, expected: int) -> None:
    for _ in range(1000):
        await gate.settled()
        if len(await gate.found(ANN, "words")) == expected:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the search has not come back")


def test_a_search_database_that_breaks_while_running_is_made_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await accept_all(gate, *(f"number {number}" for number in range(20)))
            await gate.mailstore.stop()
            (search,) = tmp_path.glob("search-*.db")
            octets = bytearray(search.read_bytes())
            octets[8192:] = b"\xaa" * (len(octets) - 8192)
            search.write_bytes(octets)
            await gate.start_mailstore()
            await settled_search(gate, 20)

    asyncio.run(story())


def test_what_was_not_digested_at_the_end_is_digested_after_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            gate.mailstore.children.stop()
            for number in range(80):
                await gate.accept(simple(f"number {number}", "words"), [ANN])
        async with gateway(tmp_path) as gate:
            await gate.settled()
            assert len(await gate.found(ANN, "words")) == 80

    asyncio.run(story())


def test_mail_that_came_while_the_mailstore_was_down_is_filed(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.mailstore.stop()
            for number in range(300):
                await gate.accept(simple(f"number {number}", "words"), [ANN])
            await gate.start_mailstore()
            await gate.settled()
            assert len(await gate.found(ANN, "words")) == 300

    asyncio.run(story())


def test_retention_removes_one_old_day_and_keeps_its_uids_as_gone(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with gateway(tmp_path, clock) as gate:
            for day in range(4):
                number = await gate.accept(simple(f"day {day}", "words"), [ANN, CAY])
                await finish(gate, number, 2)
                await gate.settled()
                clock.advance(DAY_S)
            days = gate.bodies.days()
            (cay, *_) = (copy for copy in await gate.copies(CAY) if copy.subject == "day 1")
            await gate.mailstore.delete(cay.id)
            assert await gate.mailstore.run_retention(30) is None
            assert await gate.mailstore.run_retention(2) == days[0]
            assert await gate.mailstore.run_retention(2) == days[1]
            assert await gate.mailstore.run_retention(2) is None
            assert [copy.subject for copy in await gate.copies(ANN)] == ["day 3", "day 2"]
            assert await gate.found(ANN, "words") == ["day 3", "day 2"]
            assert gate.bodies.days() == days[2:]
            assert sorted(path.name for path in tmp_path.glob("search-*.db")) == [
                f"search-{day}.db" for day in days[2:]
            ]
            assert await gate.mailstore.check() == []
        assert uids(tmp_path)[1] == {1, 2, 3, 4}
        (tmp_path / "mail.db").unlink()
        async with gateway(tmp_path, clock) as gate:
            await gate.settled()
            assert [copy.subject for copy in await gate.copies(ANN)] == ["day 3", "day 2"]

    asyncio.run(story())


async def finish(gate: Gateway, message_id: int, deliveries: int) -> None:
    """All deliveries of the message end."""
    now = gate.clock.now_ms()
    changes = [
        Change(message_id + number, DeliveryState.QUEUED, DeliveryInput.FILE, now)
        for number in range(1, deliveries + 1)
    ]
    assert all(await gate.ledger.change(changes))


def test_retention_keeps_days_with_open_deliveries_and_drafts(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with gateway(tmp_path, clock) as gate:
            for subject in ("open", "draft", "finished"):
                number = await gate.accept(simple(subject, "words"), [ANN])
                if subject != "open":
                    await finish(gate, number, 1)
                await gate.settled()
                clock.advance(DAY_S)
            (draft,) = (copy for copy in await gate.copies(ANN) if copy.subject == "draft")
            await gate.mailstore.patch(draft.id, None, "drafts")
            clock.advance(100 * DAY_S)
            days = gate.bodies.days()
            assert await gate.mailstore.run_retention(10) == days[2]
            assert await gate.mailstore.run_retention(10) is None
            assert {copy.subject for copy in await gate.copies(ANN)} == {"open", "draft"}

    asyncio.run(story())


def test_the_check_names_a_copy_that_is_missing(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            number = await gate.accept(simple("gone", "words"), [ANN, BEN])
            await gate.settled()
            connection = sqlite3.connect(tmp_path / "mail.db")
            connection.execute("DELETE FROM copy WHERE id = (SELECT min(id) FROM copy)")
            connection.execute("INSERT INTO message (id, day, received_at, size, state) VALUES (7, '', 0, 0, 'ready')")
            connection.commit()
            connection.close()
            missing, foreign = await gate.mailstore.check()
            assert missing.endswith(f"has no copy in {ANN}")
            assert foreign.endswith("is not in the ledger")
            assert number

    asyncio.run(story())
