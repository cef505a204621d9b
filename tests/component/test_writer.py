"""The writer on a store and a disk that fail: every job is told its outcome once, none is lost (DESIGN §3.1, §6)."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from stormsail.clock import SystemClock
from stormsail.domain.errors import OutcomeUnknown, StorageFull, StoreError, StormsailError, TakenOver, TemporaryError
from stormsail.store import BodyFiles, Writer
from stormsail.store import writer as writer_module
from testkit.failing_store import Store, Work
from testkit.waiting import eventually


class Desk:
    """A running writer, and everything that was told."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder / "store.db")
        self.bodies = BodyFiles(folder / "bodies")
        self.fatal: list[StoreError] = []
        self.writer = Writer(self.store, self.bodies, SystemClock(), self.fatal.append)
        self.settled: list[int | str] = []
        self.failed: list[tuple[int | str, type[StormsailError]]] = []

    def submit(self, work: Work) -> asyncio.Future[object]:
        """Submits it and writes down what its callbacks are told."""
        work.settled = lambda result: self.settled.append(work.row)
        work.failed = lambda error: self.failed.append((work.row, type(error)))
        return self.writer.submit(work)

    def change(self, row: int | str) -> asyncio.Future[object]:
        return self.submit(Work(row))

    def message(self, row: int, content: bytes = b"text") -> asyncio.Future[object]:
        return self.submit(Work(row, content, b"note"))

    def notice(self, row: int, content: bytes = b"notice") -> asyncio.Future[object]:
        """Has bytes, but is done only with its row."""
        return self.submit(Work(row, content))

    def hold_ledger(self) -> threading.Event:
        """Transactions wait until the event is set."""
        self.store.gate = threading.Event()
        return self.store.gate


@asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Desk]:
    running = Desk(folder)
    running.writer.start(asyncio.get_running_loop())
    try:
        yield running
    finally:
        if running.store.gate is not None:
            running.store.gate.set()
        await asyncio.to_thread(running.writer.stop)


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "REOPEN_PAUSE_S", 0.05)


def story(folder: Path, told: Callable[[Desk], Awaitable[None]]) -> Desk:
    """Runs it with a desk; gives the desk after its writer has stopped."""

    async def run() -> Desk:
        async with asyncio.timeout(30), desk(folder) as running:
            await told(running)
        return running

    return asyncio.run(run())


async def outcomes(futures: list[asyncio.Future[object]]) -> list[str]:
    return [
        "done" if not isinstance(one, BaseException) else type(one).__name__
        for one in await asyncio.gather(*futures, return_exceptions=True)
    ]


def test_what_waits_together_is_done_together_and_told_in_order(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        futures = [desk.change(0)]
        futures += [desk.message(row) if row % 2 else desk.change(row) for row in range(1, 200)]
        await asyncio.wait_for(futures[199], 10)
        assert not futures[198].done(), "a change is done only with its row"
        gate.set()
        assert await outcomes(futures) == ["done"] * 200
        assert [row for row in desk.settled if int(row) % 2] == list(range(1, 200, 2))
        assert [row for row in desk.settled if not int(row) % 2] == list(range(0, 200, 2))
        await eventually(lambda: desk.store.rows() == list(range(200)), "all rows")
        assert desk.store.commits < 20

    desk = story(tmp_path, told)
    assert not desk.failed


def test_a_message_is_done_when_its_bytes_are_safe_and_its_row_follows(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        ref = await desk.message(1, b"the bytes")
        assert desk.store.rows() == []
        assert desk.bodies.read(ref) == b"the bytes"  # type: ignore[arg-type]
        gate.set()
        await eventually(lambda: desk.store.rows() == [1], "the row")
        await eventually(lambda: desk.store.told == [[1]], "word of the row")

    story(tmp_path, told)


@pytest.mark.parametrize("happened", [False, True], ids=["did not happen", "happened all the same"])
def test_after_a_commit_of_unknown_outcome_everybody_is_told_once_and_safe_messages_get_their_row_once(
    tmp_path: Path, happened: bool
) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        desk.store.failing_commits, desk.store.happened_all_the_same = 1, happened
        futures = [desk.message(1), desk.change(2), desk.message(3), desk.change(4), desk.notice(5)]
        gate.set()
        said = await outcomes(futures)
        unknown = [row for row, word in enumerate(said, 1) if word == "OutcomeUnknown"]
        assert said[0] == said[2] == "done"
        assert 2 in unknown
        assert {said[3], said[4]} <= {"OutcomeUnknown", "TemporaryError"}, "in the same commit, or refused after it"
        assert not desk.writer.healthy
        await eventually(lambda: desk.writer.healthy, "the store to be sound again")
        assert desk.store.recoveries == 1
        assert await outcomes([desk.message(6), desk.change(7)]) == ["done", "done"]
        expected = sorted([1, 3, 6, 7, *(unknown if happened else [])])
        await eventually(lambda: desk.store.rows() == expected, "the rows")

    desk = story(tmp_path, told)
    assert sorted(desk.settled, key=int) == [1, 3, 6, 7]
    assert [row for row, _ in desk.failed] == [2, 4, 5]


def test_a_store_that_somebody_reads_at_the_start_is_waited_for_and_mail_is_taken_meanwhile(tmp_path: Path) -> None:
    async def run() -> None:
        running = Desk(tmp_path)
        running.store.busy_opens = 3
        running.writer.start(asyncio.get_running_loop())
        try:
            async with asyncio.timeout(10):
                await running.message(1)
                await running.change(2)
                await eventually(lambda: running.store.rows() == [1, 2], "the rows")
            assert running.writer.trouble == ""
            assert not running.fatal
        finally:
            await asyncio.to_thread(running.writer.stop)

    asyncio.run(run())


def test_while_the_store_is_being_repaired_new_work_is_refused_and_safe_messages_are_not_forgotten(
    tmp_path: Path,
) -> None:
    async def told(desk: Desk) -> None:
        desk.store.failing_commits, desk.store.failing_opens = 1, 4
        assert await outcomes([desk.change(1)]) == ["OutcomeUnknown"]
        assert await outcomes([desk.change(2), desk.message(3)]) == ["TemporaryError", "TemporaryError"]
        await eventually(lambda: "cannot be used" in desk.writer.trouble, "word of the trouble")
        await eventually(lambda: desk.writer.healthy, "the store to be sound again")
        assert desk.writer.trouble == ""
        assert await outcomes([desk.change(2), desk.message(3)]) == ["done", "done"]

    desk = story(tmp_path, told)
    assert desk.store.rows() == [2, 3]


def test_commits_that_fail_again_and_again_lose_and_double_nothing(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        for round_ in range(8):
            desk.store.failing_commits, desk.store.happened_all_the_same = 1, bool(round_ % 2)
            first = round_ * 10
            futures = [desk.message(first + at) for at in range(5)] + [desk.change(first + 5 + at) for at in range(5)]
            said = await outcomes(futures)
            assert said[:5] == ["done"] * 5
            await eventually(lambda: desk.writer.healthy and desk.store.failing_commits == 0, "a sound store")
        await eventually(lambda: desk.writer.backlog == 0, "all to be recorded")

    desk = story(tmp_path, told)
    messages = {first + at for first in range(0, 80, 10) for at in range(5)}
    assert messages <= set(desk.store.rows())
    assert len(desk.settled) + len(desk.failed) == 80
    assert len({*desk.settled, *(row for row, _ in desk.failed)}) == 80


def test_a_bad_row_harms_only_itself(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        futures = [desk.change(1), desk.change("no number"), desk.message(2), desk.change(1), desk.change(3)]
        gate.set()
        assert await outcomes(futures) == ["done", "TemporaryError", "done", "TemporaryError", "done"]
        assert desk.writer.healthy

    desk = story(tmp_path, told)
    assert desk.store.rows() == [1, 2, 3]


def test_a_message_whose_row_is_never_taken_does_not_stop_the_others(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        assert await outcomes([desk.message(1)]) == ["done"]
        await eventually(lambda: desk.store.rows() == [1], "the first row")
        assert await outcomes([desk.message(1), desk.message(2), desk.change(3)]) in (
            ["done", "done", "done"],
            ["done", "done", "OutcomeUnknown"],
        )
        await eventually(lambda: desk.writer.healthy and {1, 2} <= set(desk.store.rows()), "the others' rows", 10)
        assert await outcomes([desk.change(4)]) == ["done"]

    story(tmp_path, told)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (sqlite3.OperationalError("database or disk is full"), "StorageFull"),
        (sqlite3.OperationalError("disk I/O error"), "TemporaryError"),
    ],
)
def test_a_ledger_without_room_says_so_and_goes_on_when_there_is_some(
    tmp_path: Path, error: Exception, said: str
) -> None:
    async def told(desk: Desk) -> None:
        desk.store.failing_statements = [error]
        assert await outcomes([desk.change(1)]) == [said]
        assert desk.writer.healthy
        assert await outcomes([desk.change(1)]) == ["done"]

    story(tmp_path, told)


@pytest.mark.parametrize("fault", [KeyError("lane"), MemoryError(), AttributeError("no such thing")], ids=repr)
def test_a_fault_of_ours_in_one_change_harms_only_that_change(tmp_path: Path, fault: Exception) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        desk.store.faults[3] = fault
        futures = [desk.change(1), desk.message(2), desk.change(3), desk.change(4)]
        gate.set()
        assert await outcomes(futures) == ["done", "done", "TemporaryError", "done"]
        assert await outcomes([desk.change(5)]) == ["done"]
        assert desk.writer.healthy

    desk = story(tmp_path, told)
    assert desk.store.rows() == [1, 2, 4, 5]
    assert not desk.fatal


def test_a_ledger_that_cannot_be_opened_is_a_fault_and_no_takeover(tmp_path: Path) -> None:
    async def run() -> None:
        running = Desk(tmp_path)
        running.store.failing_opens = 1
        running.writer.start(asyncio.get_running_loop())
        await eventually(lambda: running.fatal, "the fatal word")
        assert not isinstance(running.fatal[0], TakenOver)
        await asyncio.to_thread(running.writer.stop)

    asyncio.run(run())


class FullDisk:
    """`os.pwrite` and `os.fdatasync` fail for body files while this is on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: dict[str, int] = {}
        for name in ("pwrite", "fdatasync"):
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            if name in self.error:
                raise OSError(self.error[name], os.strerror(self.error[name]))
            return real(*arguments)

        return call


@pytest.mark.parametrize(
    ("call", "number", "said"),
    [
        ("pwrite", errno.ENOSPC, StorageFull),
        ("pwrite", errno.EDQUOT, StorageFull),
        ("pwrite", errno.EIO, TemporaryError),
        ("fdatasync", errno.EIO, TemporaryError),
        ("fdatasync", errno.ENOSPC, StorageFull),
    ],
)
def test_where_bodies_find_no_room_changes_go_on_and_mail_is_refused_for_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, said: type[StormsailError]
) -> None:
    disk = FullDisk(monkeypatch)

    async def told(desk: Desk) -> None:
        assert await outcomes([desk.message(1)]) == ["done"]
        disk.error = {call: number}
        futures = [desk.message(2), desk.change(3), desk.notice(4), desk.change(5)]
        assert await outcomes(futures) == [said.__name__, "done", said.__name__, "done"]
        assert desk.writer.healthy
        disk.error = {}
        assert await outcomes([desk.message(2), desk.notice(4)]) == ["done", "done"]

    desk = story(tmp_path, told)
    assert desk.store.rows() == [1, 2, 3, 4, 5]
    assert desk.failed == [(2, said), (4, said)]


def test_callbacks_are_told_though_nobody_waits_for_the_future_any_more(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        gate = desk.hold_ledger()
        desk.store.failing_commits = 1
        futures = [desk.message(1), desk.change(2)]
        for future in futures:
            future.cancel()
        gate.set()
        await eventually(lambda: desk.settled == [1] and desk.failed == [(2, OutcomeUnknown)], "both to be told")

    story(tmp_path, told)


def test_a_follower_that_fails_keeps_nobody_elses_reply_back(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        def fail(result: object) -> None:
            raise ZeroDivisionError

        bad = Work(1)
        bad.settled = fail
        assert await outcomes([desk.writer.submit(bad), desk.change(2)]) == ["done", "done"]

    story(tmp_path, told)


def test_stopping_finishes_what_was_submitted(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        for row in range(100):
            desk.message(row) if row % 2 else desk.change(row)

    desk = story(tmp_path, told)
    assert desk.store.rows() == list(range(100))


def test_who_has_lost_the_data_to_another_tells_its_owner_and_answers_nobody_250(tmp_path: Path) -> None:
    async def told(desk: Desk) -> None:
        assert await outcomes([desk.message(1)]) == ["done"]
        await eventually(lambda: desk.store.rows() == [1], "the row")
        desk.store.taken_over = True
        assert await outcomes([desk.message(2), desk.change(3)]) == ["TakenOver", "TakenOver"]
        await eventually(lambda: desk.fatal, "the fatal word")
        assert isinstance(desk.fatal[0], TakenOver)

    desk = story(tmp_path, told)
    assert desk.store.rows() == [1]
