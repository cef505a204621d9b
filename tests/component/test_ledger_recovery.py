"""The ledger over crashes, failing commits and rivals; which accepts stay unconfirmed (DESIGN §3.1, §3.3, §3.4, §6)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stormsail.domain.errors import NotFound, OutcomeUnknown, StoreError, TemporaryError
from stormsail.domain.ids import id_to_text
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change, orphans
from stormsail.ledger import ledger as ledger_module
from stormsail.ledger.ledger import UNCONFIRMED_KEPT_MS
from stormsail.store import BodyRef, begin_log_anew, connect_writer
from stormsail.store import writer as writer_module
from testkit.accepted import accepted
from testkit.clock import SetClock
from testkit.open_ledger import LANE, OpenLedger, open_ledger, story
from testkit.waiting import eventually

S, H = DeliveryState, DeliveryInput


def test_after_a_restart_open_attempts_are_in_doubt_and_everything_else_is_as_it_was(tmp_path: Path) -> None:
    numbers: dict[DeliveryState, int] = {}

    async def first(opened: OpenLedger) -> None:
        for state in S:
            numbers[state] = await opened.accept(state=state)

    async def second(opened: OpenLedger) -> None:
        for state, number in numbers.items():
            row = await opened.only(number)
            if state is S.ACTIVE:
                assert (row.state, row.marked) == (S.OUTCOME_UNKNOWN, True)
                assert row.due_at <= opened.clock.now_ms()
            else:
                assert (row.state, row.marked) == (state, False)
        assert await opened.reader.lanes_due() == {LANE: opened.clock.now_ms()}

    story(tmp_path / "data", first, second)


def test_a_message_that_was_safe_but_had_no_rows_yet_is_taken_up_at_the_next_start(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            before = await opened.accept()
            holding = opened.hold_writes()
            try:
                late = [
                    opened.acceptance(f"r{at}@example.com", state=S.ACTIVE, prints=(b"%016d" % at,)) for at in range(3)
                ]
                await asyncio.gather(*(opened.keep(one, b"late") for one in late))
                left = opened.crash(tmp_path / "left")
            finally:
                holding.close()
        for earlier_lives in range(2):
            async with open_ledger(left) as again:
                assert again.problems() == []
                for one in late:
                    assert await again.body(one.id) == b"late"
                    row = await again.only(one.id)
                    assert (row.state, row.marked) == (S.OUTCOME_UNKNOWN, True), "it may have been on its way"
                assert (await again.only(before)).state is S.QUEUED
                assert sum((await again.reader.tally()).values()) == 4 + earlier_lives
                assert sorted(await again.reader.unconfirmed()) == [
                    (b"%016d" % at, one.id) for at, one in enumerate(late)
                ]
                assert await again.accept() > late[-1].id

    asyncio.run(run())


def test_a_torn_end_of_the_latest_segment_costs_only_what_was_never_answered(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            await opened.accept()
            holding = opened.hold_writes()
            try:
                safe, torn = opened.acceptance(), opened.acceptance()
                await opened.keep(safe, b"safe")
                place = await opened.keep(torn, b"torn" * 100)
                left = opened.crash(tmp_path / "left")
            finally:
                holding.close()
        assert place is not None
        segment = left / "bodies" / place.day / place.file
        segment.write_bytes(segment.read_bytes()[: place.offset + 100] + bytes(5000))
        async with open_ledger(left) as again:
            assert await again.body(safe.id) == b"safe"
            with pytest.raises(NotFound):
                await again.reader.message(torn.id)
            assert again.problems() == []

    asyncio.run(run())


def test_files_of_large_messages_without_a_row_are_found(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        for row in (True, False):
            spooled = opened.bodies.spool()
            spooled.write(b"large")
            ref = spooled.finish("2026-03-02")
            if row:
                acceptance = opened.acceptance()
                acceptance.size = ref.length
                await accepted(opened.ledger, acceptance, None, ref)
                await opened.ledger.verify_ownership()
        assert orphans(opened.ledger.path, opened.bodies) == [(ref.day, ref.file)]
        assert opened.problems() == [f"file {ref.day}/{ref.file}: no message of the ledger is in it"]
        opened.bodies.unlink_file(ref.day, ref.file)

    story(tmp_path / "data", life)


def test_a_damaged_body_is_named_and_hurts_nobody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            numbers = [await opened.accept(content=b"x%d" % at * 50) for at in range(3)]
            ref = (await opened.reader.message(numbers[1])).body
            opened.bodies.erase(ref)
            [problem] = opened.problems()
            assert id_to_text(numbers[1]) in problem
            assert await opened.body(numbers[0]) == b"x0" * 50
            assert await opened.body(numbers[2]) == b"x2" * 50

    asyncio.run(run())


def test_a_second_life_ends_the_first_one_that_still_lives(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as old:
            number = await old.accept()
            async with open_ledger(tmp_path / "data") as new:
                with pytest.raises(StoreError):
                    await old.ledger.verify_ownership()
                with pytest.raises(StoreError):
                    await old.accept(content=b"too late")
                assert await new.reader.tally() == {"queued": 1}
                assert await new.move(number + 1, S.QUEUED, H.START)
            assert old.fatal

    asyncio.run(run())


# ── unconfirmed accepts ──


async def unconfirmed(opened: OpenLedger) -> list[tuple[bytes, int]]:
    return sorted(await opened.reader.unconfirmed())


def test_an_accept_stays_unconfirmed_until_it_is_confirmed(tmp_path: Path) -> None:
    one, two = b"1" * 16, b"2" * 16

    async def first(opened: OpenLedger) -> None:
        number = await opened.accept("a@example.com", "b@example.com", prints=(one, two))
        assert await unconfirmed(opened) == [(one, number), (two, number)]
        opened.ledger.confirm([(one, number)])
        await eventually(lambda: bool(confirmed_rows(opened) == [(two, number)]), "the confirmation")

    async def second(opened: OpenLedger) -> None:
        assert [print_ for print_, _ in await unconfirmed(opened)] == [two]

    story(tmp_path / "data", first, second)


def confirmed_rows(opened: OpenLedger) -> list[tuple[bytes, int]]:
    connection = sqlite3.connect(f"file:{opened.ledger.path}?mode=ro", uri=True)
    try:
        return [(bytes(row[0]), row[1]) for row in connection.execute("SELECT hash, message_id FROM unconfirmed")]
    finally:
        connection.close()


def test_an_unconfirmed_accept_is_forgotten_after_five_days(tmp_path: Path) -> None:
    clock = SetClock()

    async def first(opened: OpenLedger) -> None:
        await opened.accept(prints=(b"1" * 16,))
        clock.advance(UNCONFIRMED_KEPT_MS / 1000 - 10)

    async def second(opened: OpenLedger) -> None:
        assert len(await unconfirmed(opened)) == 1
        clock.advance(20)

    async def third(opened: OpenLedger) -> None:
        assert await unconfirmed(opened) == []

    story(tmp_path / "data", first, second, third, clock=clock)


def test_a_confirmation_that_comes_before_the_rows_is_not_lost(tmp_path: Path) -> None:
    """The 250 is said before the ledger has the rows; a quick peer's next command comes before them too."""

    async def life(opened: OpenLedger) -> None:
        holding = opened.hold_writes()
        acceptance = opened.acceptance(prints=(b"1" * 16,))
        await opened.keep(acceptance, b"x")
        opened.ledger.confirm([(b"1" * 16, acceptance.id)])
        await asyncio.sleep(0.1)
        holding.close()
        await opened.ledger.verify_ownership()
        await eventually(lambda: confirmed_rows(opened) == [], "the confirmation")

    story(tmp_path / "data", life)


class FailingCommits:
    """Makes the ledger's next commits fail, after they happened or before."""

    def __init__(self, opened: OpenLedger, monkeypatch: pytest.MonkeyPatch, *, happened: bool) -> None:
        self.left = 0
        real_open = opened.ledger.open

        class Failing(sqlite3.Connection):
            def execute(connection, sql: str, *values: object) -> sqlite3.Cursor:
                if sql == "COMMIT" and self.left:
                    self.left -= 1
                    super().execute("COMMIT" if happened else "ROLLBACK")
                    raise sqlite3.OperationalError("disk I/O error")
                return super().execute(sql, *values)  # type: ignore[arg-type]

        real_connect = sqlite3.connect

        def open_failing() -> sqlite3.Connection:
            monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: real_connect(*args, factory=Failing, **more))
            try:
                return real_open()
            finally:
                monkeypatch.setattr(sqlite3, "connect", real_connect)

        monkeypatch.setattr(opened.ledger, "open", open_failing)


@pytest.mark.parametrize("happened", [False, True], ids=["did not happen", "happened all the same"])
def test_a_commit_of_unknown_outcome_costs_no_message_no_confirmation_and_no_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    async def run() -> None:
        opened = OpenLedger(tmp_path / "data")
        failing = FailingCommits(opened, monkeypatch, happened=happened)
        recovered: list[list[tuple[bytes, int]]] = []
        opened.ledger.on_recovered = recovered.append
        await opened.start()
        try:
            known = await opened.accept(prints=(b"k" * 16,))
            failing.left = 1
            opened.ledger.confirm([(b"k" * 16, known)])
            acceptance = opened.acceptance(state=S.ACTIVE, prints=(b"n" * 16,))
            await opened.keep(acceptance, b"new")
            started = opened.ledger.change([Change(known + 1, S.QUEUED, H.START, opened.clock.now_ms())])
            with pytest.raises(OutcomeUnknown):
                await started
            await eventually(lambda: opened.ledger.writer.healthy, "the ledger to be sound again")
            [told] = recovered
            assert (b"k" * 16, known) not in told, "what was confirmed must not count as a possible repeat again"
            await opened.ledger.verify_ownership()
            assert (await opened.only(acceptance.id)).state is S.ACTIVE, "its first attempt goes on"
            row = await opened.only(known)
            assert row.state in (S.QUEUED, S.DEFERRED), "nobody carries on an attempt that was called off"
            await eventually(lambda: confirmed_rows(opened) == [(b"n" * 16, acceptance.id)], "the confirmation")
            assert opened.problems() == []
        finally:
            await opened.stop()

    asyncio.run(run())


# ── readers in the way ──


@contextmanager
def reading(opened: OpenLedger) -> Iterator[None]:
    """Somebody else reads the ledger as it is now, for as long as the block lasts."""
    connection = sqlite3.connect(opened.ledger.path, isolation_level=None)
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM message").fetchone()
    try:
        yield
    finally:
        connection.close()


def test_after_a_failed_commit_nothing_is_written_behind_pages_that_a_reader_keeps_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "REOPEN_PAUSE_S", 0.05)

    async def run() -> None:
        opened = OpenLedger(tmp_path / "data")
        failing = FailingCommits(opened, monkeypatch, happened=True)
        await opened.start()
        monkeypatch.setattr(ledger_module, "BUSY_MS", 20)
        log = opened.ledger.path.with_name("ledger.db-wal")
        try:
            number = await opened.accept()
            with reading(opened):
                failing.left = 1
                with pytest.raises(OutcomeUnknown):
                    await opened.move(number + 1, S.QUEUED, H.HOLD)
                await eventually(lambda: "reads the database" in opened.ledger.writer.trouble, "word of the reader")
                left = log.read_bytes()
                with pytest.raises(TemporaryError):
                    await opened.move(number + 1, S.HELD, H.RELEASE)
                assert log.read_bytes() == left
                assert not opened.ledger.writer.healthy
            await eventually(lambda: opened.ledger.writer.healthy, "the ledger to be sound again")
            assert log.stat().st_size == 0
            assert await opened.move(number + 1, S.HELD, H.RELEASE)
        finally:
            await opened.stop()

    asyncio.run(run())


def test_a_log_that_a_reader_keeps_from_being_begun_anew_is_told_and_delays_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "TIDY_EVERY", 1)
    monkeypatch.setattr(ledger_module, "WAL_LIMIT", 0)

    async def life(opened: OpenLedger) -> None:
        number = await opened.accept()
        with reading(opened):
            async with asyncio.timeout(5):
                for happened, state in ((H.HOLD, S.QUEUED), (H.RELEASE, S.HELD)) * 5:
                    assert await opened.move(number + 1, state, happened)
            await eventually(lambda: "started anew" in opened.ledger.writer.trouble, "word of the reader")
            assert opened.ledger.writer.healthy
        await opened.move(number + 1, S.QUEUED, H.HOLD)
        await eventually(lambda: opened.ledger.writer.trouble == "", "the trouble to be over")

    story(tmp_path / "data", life)


def test_the_proof_keeps_nobody_from_the_ledger_while_it_reads_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def life(opened: OpenLedger) -> None:
        for _ in range(3):
            await opened.accept()
        read, begun_anew = opened.bodies.read, []

        def read_meanwhile(ref: BodyRef) -> bytes:
            connection = connect_writer(opened.ledger.path)
            begin_log_anew(connection, "RESTART", 0)
            connection.close()
            begun_anew.append(ref)
            return read(ref)

        monkeypatch.setattr(opened.bodies, "read", read_meanwhile)
        assert opened.problems() == []
        assert len(begun_anew) == 3

    story(tmp_path / "data", life)
