"""An idempotency key: the same request gets the same answer, whatever came between."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from stormsail.accounts import Accounts
from stormsail.domain.errors import Conflict, IdempotencyKeyReused, OutcomeUnknown
from stormsail.domain.roles import Role
from testkit.clock import SetClock
from testkit.people import open_accounts

DAY_S = 86_400


async def add_ann(accounts: Accounts) -> int:
    return (await accounts.add("ann@example.com", Role.STAFF, None, "test")).id


def test_the_answer_is_given_again_for_seven_days(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with open_accounts(tmp_path, clock) as accounts:
            ann = await add_ann(accounts)
            assert await accounts.sent_once.begin(ann, "key", b"request") is None
            await accounts.sent_once.finish(ann, "key", b"answer")
            assert await accounts.sent_once.begin(ann, "key", b"request") == b"answer"
            clock.advance(7 * DAY_S - 1)
            assert await accounts.sent_once.begin(ann, "key", b"request") == b"answer"
            clock.advance(2)
            assert await accounts.sent_once.begin(ann, "key", b"request") is None

    asyncio.run(story())


def test_a_key_used_for_something_else_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            ann = await add_ann(accounts)
            await accounts.sent_once.begin(ann, "key", b"request")
            await accounts.sent_once.finish(ann, "key", b"answer")
            with pytest.raises(IdempotencyKeyReused):
                await accounts.sent_once.begin(ann, "key", b"another request")

    asyncio.run(story())


def test_two_accounts_may_use_the_same_key(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            ann = await add_ann(accounts)
            bo = (await accounts.add("bo@example.com", Role.STAFF, None, "test")).id
            assert await accounts.sent_once.begin(ann, "key", b"hers") is None
            assert await accounts.sent_once.begin(bo, "key", b"his") is None

    asyncio.run(story())


def test_while_the_first_is_being_sent_the_second_is_told_so(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            ann = await add_ann(accounts)
            begun = await asyncio.gather(
                *(accounts.sent_once.begin(ann, "key", b"request") for _ in range(5)), return_exceptions=True
            )
            assert begun.count(None) == 1
            assert sum(isinstance(one, Conflict) for one in begun) == 4

    asyncio.run(story())


def test_what_was_not_sent_may_be_sent_with_the_same_key(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            ann = await add_ann(accounts)
            await accounts.sent_once.begin(ann, "key", b"with a mistake")
            await accounts.sent_once.abandon(ann, "key")
            assert await accounts.sent_once.begin(ann, "key", b"without it") is None

    asyncio.run(story())


def test_after_a_crash_while_sending_nobody_is_told_that_it_was_or_was_not_sent(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            ann = await add_ann(accounts)
            await accounts.sent_once.begin(ann, "key", b"request")
        async with open_accounts(tmp_path) as accounts:
            with pytest.raises(OutcomeUnknown, match="Sent"):
                await accounts.sent_once.begin(ann, "key", b"request")

    asyncio.run(story())
