"""Accounts with their database: who can sign in, for how long, and what a wrong password costs whom."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from stormsail.accounts import Accounts
from stormsail.domain.errors import BadAddress, BadRequest, Conflict, NotFound, NotSignedIn, StoreError, TooManyTries
from stormsail.domain.roles import Role
from testkit.clock import SetClock
from testkit.people import PASSWORD, open_accounts

ANN = "ann@example.com"
DAY_S = 86_400
HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"


async def add_ann(accounts: Accounts, role: Role = Role.STAFF) -> None:
    await accounts.add(ANN, role, PASSWORD, "test")


async def try_wrong(accounts: Accounts, times: int, peer: str = HERE) -> None:
    for _ in range(times):
        with pytest.raises(NotSignedIn):
            await accounts.sign_in(ANN, "not the password", peer)


def test_the_right_password_gives_a_token_that_stands_for_the_account(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts, Role.OPERATOR)
            found = await accounts.sign_in("Ann@Example.COM", PASSWORD, HERE, "her laptop")
            account, session = await accounts.authenticate(found.token)
            assert (account.address, account.role) == (ANN, Role.OPERATOR)
            assert (session.peer, session.label) == (HERE, "her laptop")

    asyncio.run(story())


def test_an_alias_signs_in_to_the_account_of_the_mailbox(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path, canonical={"a.smith@example.com": ANN}.get) as accounts:
            await add_ann(accounts)
            assert (await accounts.sign_in("a.smith@example.com", PASSWORD, HERE)).account.address == ANN

    asyncio.run(story())


def test_a_password_typed_with_combining_accents_is_the_same_password(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await accounts.add(ANN, Role.STAFF, "caf\u00e9 au lait s'il", "test")
            await accounts.sign_in(ANN, "cafe\u0301 au lait s'il", HERE)

    asyncio.run(story())


@pytest.mark.parametrize("address", ["ann@example.com", "nobody@example.com", "no address at all"])
def test_a_wrong_password_and_an_unknown_address_are_told_in_the_same_words(tmp_path: Path, address: str) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            with pytest.raises(NotSignedIn, match="The address or the password is wrong"):
                await accounts.sign_in(address, "not the password", HERE)

    asyncio.run(story())


def test_an_account_without_a_password_cannot_sign_in(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await accounts.add(ANN, Role.STAFF, None, "test")
            with pytest.raises(NotSignedIn):
                await accounts.sign_in(ANN, "", HERE)
            assert await accounts.can_sign_in() == []

    asyncio.run(story())


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "ann@example.com"])
def test_a_password_that_would_be_guessed_at_once_is_refused(tmp_path: Path, password: str) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            with pytest.raises(BadRequest):
                await accounts.add(ANN, Role.STAFF, password, "test")
            assert await accounts.find(ANN) is None

    asyncio.run(story())


def test_an_address_has_one_account_whatever_its_case(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            with pytest.raises(Conflict):
                await accounts.add("ANN@example.com", Role.OWNER, None, "test")
            with pytest.raises(BadAddress):
                await accounts.add("ann", Role.STAFF, None, "test")
            with pytest.raises(NotFound):
                await accounts.disable("bo@example.com", "test")

    asyncio.run(story())


def test_a_session_lasts_thirty_days_from_its_last_use(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with open_accounts(tmp_path, clock) as accounts:
            await add_ann(accounts)
            token = (await accounts.sign_in(ANN, PASSWORD, HERE)).token
            for _ in range(3):
                clock.advance(29 * DAY_S)
                await accounts.authenticate(token)
            clock.advance(30 * DAY_S + 1)
            with pytest.raises(NotSignedIn):
                await accounts.authenticate(token)

    asyncio.run(story())


def test_sessions_survive_a_restart_and_the_database_holds_no_token(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            token = (await accounts.sign_in(ANN, PASSWORD, HERE)).token
        async with open_accounts(tmp_path) as accounts:
            await accounts.authenticate(token)
        everything = b"".join(path.read_bytes() for path in tmp_path.glob("people.db*"))
        assert token.encode() not in everything
        assert PASSWORD.encode() not in everything

    asyncio.run(story())


def test_disabling_ends_every_session_at_once_and_enabling_revives_none(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            token = (await accounts.sign_in(ANN, PASSWORD, HERE)).token
            await accounts.disable(ANN, "test")
            with pytest.raises(NotSignedIn):
                await accounts.authenticate(token)
            with pytest.raises(NotSignedIn):
                await accounts.sign_in(ANN, PASSWORD, HERE)
            await accounts.enable(ANN, "test")
            with pytest.raises(NotSignedIn):
                await accounts.authenticate(token)
            await accounts.sign_in(ANN, PASSWORD, HERE)

    asyncio.run(story())


def test_a_new_password_ends_all_other_sessions(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            mine = (await accounts.sign_in(ANN, PASSWORD, HERE)).token
            other = (await accounts.sign_in(ANN, PASSWORD, ELSEWHERE)).token
            _, session = await accounts.authenticate(mine)
            await accounts.set_password(ANN, "another good one", ANN, but=session.id)
            await accounts.authenticate(mine)
            with pytest.raises(NotSignedIn):
                await accounts.authenticate(other)
            with pytest.raises(NotSignedIn):
                await accounts.sign_in(ANN, PASSWORD, HERE)

    asyncio.run(story())


def test_one_session_can_be_ended_alone_and_only_by_its_account(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            bo = await accounts.add("bo@example.com", Role.STAFF, PASSWORD, "test")
            first = (await accounts.sign_in(ANN, PASSWORD, HERE)).token
            second = (await accounts.sign_in(ANN, PASSWORD, ELSEWHERE)).token
            account, session = await accounts.authenticate(first)
            assert [one.peer for one in await accounts.sessions.of_account(account.id)] == [ELSEWHERE, HERE]
            assert not await accounts.sessions.close(bo.id, session.id)
            assert await accounts.sessions.close(account.id, session.id)
            with pytest.raises(NotSignedIn):
                await accounts.authenticate(first)
            await accounts.authenticate(second)

    asyncio.run(story())


def test_after_five_wrong_passwords_even_the_right_one_has_to_wait(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with open_accounts(tmp_path, clock) as accounts:
            await add_ann(accounts)
            await try_wrong(accounts, 5)
            with pytest.raises(TooManyTries) as refused:
                await accounts.sign_in(ANN, PASSWORD, HERE)
            assert 0 < refused.value.retry_after_s <= 31
            clock.advance(refused.value.retry_after_s)
            await accounts.sign_in(ANN, PASSWORD, HERE)

    asyncio.run(story())


def test_each_further_wrong_password_doubles_the_wait(tmp_path: Path) -> None:
    async def story() -> None:
        clock = SetClock()
        async with open_accounts(tmp_path, clock) as accounts:
            await add_ann(accounts)
            await try_wrong(accounts, 5)
            waits = []
            for _ in range(3):
                with pytest.raises(TooManyTries) as refused:
                    await accounts.sign_in(ANN, PASSWORD, HERE)
                waits.append(refused.value.retry_after_s)
                clock.advance(refused.value.retry_after_s)
                await try_wrong(accounts, 1)
            assert waits == [31, 61, 121]

    asyncio.run(story())


def test_a_stranger_who_guesses_does_not_lock_the_real_person_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            await try_wrong(accounts, 5, ELSEWHERE)
            with pytest.raises(TooManyTries):
                await accounts.sign_in(ANN, PASSWORD, ELSEWHERE)
            await accounts.sign_in(ANN, PASSWORD, HERE)

    asyncio.run(story())


def test_neighbours_in_an_ipv6_network_count_as_one_peer(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            for last in range(5):
                await try_wrong(accounts, 1, f"2001:db8:1:2::{last}")
            with pytest.raises(TooManyTries):
                await accounts.sign_in(ANN, PASSWORD, "2001:db8:1:2::99")

    asyncio.run(story())


def test_guesses_sent_all_at_once_are_counted_like_guesses_in_turn(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            tries = [accounts.sign_in(ANN, f"guess number {number}", HERE) for number in range(15)]
            outcomes = await asyncio.gather(*tries, return_exceptions=True)
            assert sum(isinstance(one, NotSignedIn) for one in outcomes) == 5
            assert sum(isinstance(one, TooManyTries) for one in outcomes) == 10

    asyncio.run(story())


def test_what_was_done_is_in_the_audit_trail_and_the_chain_holds(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            await accounts.set_role(ANN, Role.OPERATOR, "uid:root")
            await accounts.disable(ANN, "uid:root")
            newest = await accounts.audit.page(None, 2)
            assert [(row.actor, row.action, row.target) for row in newest] == [
                ("uid:root", "account.disable", ANN),
                ("uid:root", "account.role", ANN),
            ]
            assert [row.action for row in await accounts.audit.page(newest[-1].id, 9)] == ["account.add"]
            assert await accounts.verify_audit() == []

    asyncio.run(story())


def test_a_changed_row_of_the_audit_trail_is_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            for number in range(4):
                await accounts.audit.record("ann", "test", str(number))
        forge(tmp_path, "UPDATE audit SET actor = 'somebody else' WHERE id = 2")
        async with open_accounts(tmp_path) as accounts:
            assert [line.split(" is not")[0] for line in await accounts.verify_audit()] == ["audit: row 2"]

    asyncio.run(story())


def test_a_removed_row_of_the_audit_trail_is_found(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            for number in range(4):
                await accounts.audit.record("ann", "test", str(number))
        forge(tmp_path, "DELETE FROM audit WHERE id IN (2, 3)")
        async with open_accounts(tmp_path) as accounts:
            assert await accounts.verify_audit() == ["audit: rows 2 to 3 are missing"]

    asyncio.run(story())


def test_the_audit_trail_refuses_changes_by_ordinary_means(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await accounts.audit.record("ann", "test")
        connection = sqlite3.connect(tmp_path / "people.db")
        for sql in ("UPDATE audit SET actor = ''", "DELETE FROM audit"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(sql)
        connection.close()

    asyncio.run(story())


def test_many_deeds_at_once_make_one_chain(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await asyncio.gather(*(accounts.audit.record("ann", "test", str(number)) for number in range(50)))
            assert await accounts.verify_audit() == []
            assert len(await accounts.audit.page(None, 100)) == 50

    asyncio.run(story())


def test_nobody_but_the_service_may_read_the_database(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path) as accounts:
            await add_ann(accounts)
            for path in tmp_path.glob("people.db*"):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name

    asyncio.run(story())


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    async def story() -> None:
        async with open_accounts(tmp_path):
            pass
        forge(tmp_path, "PRAGMA user_version = 99")
        with pytest.raises(StoreError, match="99"):
            async with open_accounts(tmp_path):
                pass

    asyncio.run(story())


def forge(data_dir: Path, sql: str) -> None:
    """What somebody with the file in hand could do."""
    connection = sqlite3.connect(data_dir / "people.db")
    connection.execute("DROP TRIGGER audit_never_changes")
    connection.execute("DROP TRIGGER audit_never_shrinks")
    connection.execute(sql)
    connection.commit()
    connection.close()
