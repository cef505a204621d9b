"""The intake on a sick disk: whoever hands in is told once, and nothing is a repeat of what was not kept (DESIGN §3.3)."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stormsail.domain.errors import StormsailError
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.intake import Accepted
from testkit.open_intake import OpenIntake, Sender
from testkit.open_ledger import open_ledger
from testkit.waiting import eventually


def story(folder: Path, told: Callable[[OpenIntake], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30), open_ledger(folder) as opened:
            await told(OpenIntake(opened))

    asyncio.run(run())


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_a_letter_sent_again_while_the_first_fails_on_the_disk_is_a_new_one(tmp_path: Path, error: int) -> None:
    async def told(intake: OpenIntake) -> None:
        first, second = Sender(), Sender()
        intake.fail_disk(error, after_s=0.2)
        intake.begin(first)
        first.gone = True
        accepted = await intake.hand_in(second)
        assert accepted.repeat_of is None
        assert isinstance(first.told[0], StormsailError)
        await intake.opened.ledger.verify_ownership()
        assert (await intake.opened.only(accepted.id)).state is DeliveryState.QUEUED
        assert intake.accepted == [accepted.id]

    story(tmp_path, told)


def test_where_one_of_two_equal_letters_fails_on_the_disk_the_other_is_the_original(tmp_path: Path) -> None:
    async def told(intake: OpenIntake) -> None:
        first, other = Sender(), Sender()
        intake.fail_disk(errno.EIO, after_s=0.2)
        intake.begin(first)
        intake.begin(other)
        first.gone = other.gone = True
        accepted = await intake.hand_in(Sender())
        assert isinstance(first.told[0], StormsailError)
        original = other.told[0]
        assert isinstance(original, Accepted)
        assert accepted.repeat_of == original.id
        await intake.opened.ledger.verify_ownership()
        assert (await intake.opened.only(accepted.id)).state is DeliveryState.ABSORBED
        assert (await intake.opened.only(original.id)).state is DeliveryState.QUEUED

    story(tmp_path, told)


def test_a_letter_that_is_safe_and_has_no_rows_yet_is_an_original_and_is_waited_for(tmp_path: Path) -> None:
    async def told(intake: OpenIntake) -> None:
        first, second = Sender(), Sender()
        blocking = intake.opened.hold_writes()
        intake.begin(first)
        await eventually(lambda: first.told, "the first to be safe")
        first.gone = True
        repeat = asyncio.ensure_future(intake.hand_in(second))
        answered, _ = await asyncio.wait([repeat], timeout=0.2)
        assert not answered
        blocking.close()
        original = first.told[0]
        assert isinstance(original, Accepted)
        assert (await repeat).repeat_of == original.id

    story(tmp_path, told)


def test_a_letter_whose_original_was_dropped_is_a_new_one(tmp_path: Path) -> None:
    async def told(intake: OpenIntake) -> None:
        first, second = Sender(), Sender()
        original = await intake.hand_in(first)
        first.gone = True
        await intake.opened.ledger.verify_ownership()
        row = await intake.opened.only(original.id)
        assert await intake.opened.move(row.id, DeliveryState.QUEUED, DeliveryInput.DROP)
        assert (await intake.hand_in(second)).repeat_of is None

    story(tmp_path, told)


def test_a_large_letter_whose_file_cannot_be_removed_is_refused_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(day: str, file: str) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    async def told(intake: OpenIntake) -> None:
        monkeypatch.setattr(intake.opened.bodies, "unlink_file", stays)
        intake.fail_disk(errno.EROFS)
        with pytest.raises(StormsailError, match="Read-only"):
            await asyncio.wait_for(intake.hand_in(Sender(), large=True), 5)
        assert [problem for problem in intake.opened.problems() if "m-" in problem], "the file is found"

    story(tmp_path, told)


def test_a_fault_in_handing_a_letter_on_does_not_cost_its_sender_the_reply(tmp_path: Path) -> None:
    async def told(intake: OpenIntake) -> None:
        intake.delivery_fails = True
        accepted = await asyncio.wait_for(intake.hand_in(Sender()), 5)
        await intake.opened.ledger.verify_ownership()
        assert (await intake.opened.only(accepted.id)).state is DeliveryState.QUEUED

    story(tmp_path, told)
