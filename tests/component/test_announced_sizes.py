"""What primaries announce as their SIZE: used at once, remembered over restarts, also by a ledger that refused once."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from stormsail.app.sizes import ROOM_FOR_TRACE, AnnouncedSizes
from testkit.open_ledger import OpenLedger, open_ledger
from testkit.waiting import eventually

LIMIT = 50_000_000
THEIRS = 10_000_000


def remembered(opened: OpenLedger) -> dict[tuple[str, str], str]:
    """The facts of primaries that are on the disk."""
    connection = sqlite3.connect(opened.ledger.path)
    try:
        return {(row[0], row[1]): row[2] for row in connection.execute("SELECT name, fact, value FROM primary_fact")}
    finally:
        connection.close()


def test_a_size_that_was_announced_holds_at_once_and_after_a_restart(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            sizes = AnnouncedSizes(opened.ledger, LIMIT, {})
            sizes.note("exchange", THEIRS)
            assert sizes.message_size() == THEIRS - ROOM_FOR_TRACE
            await eventually(lambda: remembered(opened), "the size to be written")
            again = AnnouncedSizes(opened.ledger, LIMIT, remembered(opened))
            assert again.message_size() == THEIRS - ROOM_FOR_TRACE

    asyncio.run(run())


def test_a_size_that_could_not_be_written_holds_and_is_written_at_the_next_ehlo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            sizes = AnnouncedSizes(opened.ledger, LIMIT, {})
            failing = [sqlite3.OperationalError("disk I/O error")]
            real = opened.ledger.check_owner

            def refuses_once(connection: sqlite3.Connection) -> None:
                if failing:
                    raise failing.pop()
                real(connection)

            monkeypatch.setattr(opened.ledger, "check_owner", refuses_once)
            sizes.note("exchange", THEIRS)
            await eventually(lambda: not failing, "the failure")
            assert sizes.message_size() == THEIRS - ROOM_FOR_TRACE
            await opened.ledger.verify_ownership()
            assert not remembered(opened)

            def ehlo() -> bool:
                sizes.note("exchange", THEIRS)
                return bool(remembered(opened))

            await eventually(ehlo, "the size to be written")

    asyncio.run(run())
