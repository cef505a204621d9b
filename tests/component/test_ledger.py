"""The ledger: accepts, moves, sums, crashes, confirmations (DESIGN §1 invariant, §3.1, §3.3, §3.4, §6)."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from stormsail.clock import MS_PER_DAY
from stormsail.domain.errors import NotFound, StoreError
from stormsail.domain.states import FINAL, DeliveryInput, DeliveryState, step
from stormsail.ledger import Change
from stormsail.ledger.prune import prune
from testkit.clock import SetClock
from testkit.open_ledger import OpenLedger, open_ledger, story

S, H = DeliveryState, DeliveryInput


# ── accepting ──


def test_a_message_is_there_with_its_deliveries_and_bytes(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        number = await opened.accept("ann@example.com", "bob@example.com", content=b"A: b\r\n\r\ncaf\xe9\r\n")
        message = await opened.reader.message(number)
        assert (message.reverse_path, message.size, message.recipients) == ("x@example.org", 14, 2)
        assert await opened.body(number) == b"A: b\r\n\r\ncaf\xe9\r\n"
        rows = await opened.reader.deliveries(number)
        assert [(row.recipient, row.state, row.id - number) for row in rows] == [
            ("ann@example.com", S.QUEUED, 1), ("bob@example.com", S.QUEUED, 2)
        ]  # fmt: skip
        assert await opened.reader.tally() == {"queued": 2}
        with pytest.raises(NotFound):
            await opened.reader.message(number + 5)

    story(tmp_path / "data", life)


def test_ids_grow_in_the_order_of_acceptance_also_over_restarts_and_a_clock_set_back(tmp_path: Path) -> None:
    clock = SetClock()
    numbers: list[int] = []

    async def life(opened: OpenLedger) -> None:
        for recipients in (1, 3, 2):
            numbers.append(await opened.accept(*(f"r{at}@example.com" for at in range(recipients))))
        clock.advance(-3600)

    story(tmp_path / "data", life, life, life, clock=clock)
    assert numbers == sorted(numbers)
    assert all(later - earlier > 3 for earlier, later in zip(numbers[1::3], numbers[2::3], strict=True))


def test_many_at_once_are_all_kept(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        accepted = [opened.acceptance(f"r{at}@example.com") for at in range(500)]
        await asyncio.gather(*(opened.keep(one, b"%06d" % at) for at, one in enumerate(accepted)))
        await opened.ledger.verify_ownership()
        assert await opened.reader.tally() == {"queued": 500}
        assert [await opened.body(one.id) for one in accepted] == [b"%06d" % at for at in range(500)]

    story(tmp_path / "data", life)


# ── moving ──


def test_of_two_moves_from_the_same_state_one_is_done(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        delivery = await opened.accept() + 1
        now = opened.clock.now_ms()
        start = Change(delivery, S.QUEUED, H.START, now, actor="first")
        again = Change(delivery, S.QUEUED, H.START, now, actor="second")
        assert await opened.ledger.change([start, again]) == [True, False]
        assert not await opened.move(delivery, S.QUEUED, H.HOLD)
        assert not await opened.move(delivery, S.ACTIVE, H.RELEASE), "no move from there"
        assert not await opened.move(delivery + 5, S.QUEUED, H.START), "no such delivery"
        assert await opened.move(delivery, S.ACTIVE, H.TAKE_BY_PRIMARY, reply="250 ok", remote="mx:25", latency_ms=12)
        steps = await opened.reader.transitions(delivery)
        assert [(one.input, one.state, one.actor, one.reply) for one in steps] == [
            ("start", "active", "first", ""), ("take_by_primary", "relayed", "", "250 ok")
        ]  # fmt: skip

    story(tmp_path / "data", life)


@pytest.mark.parametrize("final", sorted(FINAL))
def test_a_final_state_is_never_left(tmp_path: Path, final: DeliveryState) -> None:
    async def life(opened: OpenLedger) -> None:
        delivery = await opened.accept(state=final) + 1
        done = [await opened.move(delivery, final, happened) for happened in H]
        assert not any(done)
        assert (await opened.only(delivery - 1)).state is final

    story(tmp_path / "data", life)


def test_an_attempt_is_counted_and_time_on_hold_is_not(tmp_path: Path) -> None:
    clock = SetClock()

    async def life(opened: OpenLedger) -> None:
        number = await opened.accept()
        await opened.move(number + 1, S.QUEUED, H.START)
        first = (await opened.only(number)).first_attempt_at
        clock.advance(60)
        await opened.move(number + 1, S.ACTIVE, H.DEFER, due_at=clock.now_ms() + 5)
        await opened.move(number + 1, S.DEFERRED, H.START)
        row = await opened.only(number)
        assert (row.attempts, row.first_attempt_at) == (2, first)
        await opened.move(number + 1, S.ACTIVE, H.COVER, event_id=77)
        clock.advance(86_400)
        await opened.move(number + 1, S.HELD, H.START)
        row = await opened.only(number)
        assert (row.attempts, row.first_attempt_at, row.first_event, row.kept_by) == (3, clock.now_ms(), 77, None)

    story(tmp_path / "data", life, clock=clock)


def test_the_event_that_held_first_stays_and_the_one_that_keeps_changes(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        number = await opened.accept()
        await opened.move(number + 1, S.QUEUED, H.COVER, event_id=1)
        await opened.move(number + 1, S.HELD, H.KEEP, event_id=2)
        row = await opened.only(number)
        assert (row.state, row.first_event, row.kept_by) == (S.HELD, 1, 2)
        assert await opened.reader.held_count(1) == 0
        assert await opened.reader.held_count(2) == 1

    story(tmp_path / "data", life)


def test_however_deliveries_move_accepted_is_the_sum_of_all_states(tmp_path: Path) -> None:
    chance = random.Random(3)

    async def life(opened: OpenLedger) -> None:
        states: dict[int, DeliveryState] = {}
        for _ in range(60):
            recipients = [f"r{at}@example.com" for at in range(chance.randrange(1, 4))]
            number = await opened.accept(*recipients)
            states |= {number + at: S.QUEUED for at in range(1, len(recipients) + 1)}
        for _ in range(60):
            changes = []
            for delivery in chance.sample(sorted(states), 10):
                expected = states[delivery] if chance.random() < 0.8 else chance.choice(list(S))
                changes.append(Change(delivery, expected, chance.choice(list(H)), opened.clock.now_ms()))
            for change, done in zip(changes, await opened.ledger.change(changes), strict=True):
                target = step(change.expected, change.happened)
                assert done is (target is not None and states[change.delivery_id] is change.expected)
                if done and target is not None:
                    states[change.delivery_id] = target
        counted = Counter(str(state) for state in states.values())
        assert {state: count for state, count in (await opened.reader.tally()).items() if count} == counted

    story(tmp_path / "data", life)


# ── notices, rare work, old rows ──


def test_a_notice_is_kept_once_with_the_moves_it_tells_of(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        delivery = await opened.accept(state=S.ACTIVE) + 1
        bounce = [Change(delivery, S.ACTIVE, H.BOUNCE, opened.clock.now_ms())]
        first = await opened.keep(opened.acceptance(), b"notice", bounce)
        second = await opened.keep(opened.acceptance(), b"notice", bounce)
        assert first is not None
        assert second is None
        assert await opened.reader.tally() == {"active": 0, "bounced": 1, "queued": 1}

    story(tmp_path / "data", life)


def test_rows_go_when_their_deliveries_have_been_final_for_long_and_the_sums_with_them(tmp_path: Path) -> None:
    clock = SetClock()

    async def life(opened: OpenLedger) -> None:
        final = [await opened.accept(state=S.RELAYED) for _ in range(3)]
        still_open = await opened.accept(state=S.HELD)
        clock.advance(401 * MS_PER_DAY / 1000)
        young = await opened.accept(state=S.RELAYED)
        assert await prune(opened.ledger, clock) == 3
        for number in final:
            with pytest.raises(NotFound):
                await opened.reader.message(number)
        for number in (still_open, young):
            assert await opened.reader.message(number)
        assert {state: count for state, count in (await opened.reader.tally()).items() if count} == {
            "held": 1, "relayed": 1
        }  # fmt: skip

    story(tmp_path / "data", life, clock=clock)


def test_a_database_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        await opened.accept()

    story(tmp_path / "data", life)
    connection = sqlite3.connect(tmp_path / "data" / "ledger.db")
    connection.execute("PRAGMA user_version=999")
    connection.close()
    with pytest.raises(StoreError, match="format 999"):
        OpenLedger(tmp_path / "data")


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ("UPDATE tally SET deliveries = deliveries + 1", "tally"),
        ("DELETE FROM delivery WHERE id = (SELECT max(id) FROM delivery)", "deliveries"),
        ("UPDATE delivery SET state = 'relayed' WHERE id = (SELECT max(id) FROM delivery)", "last move"),
        ("UPDATE message SET offset = offset + 1", "not those that were written"),
        ("DELETE FROM message", "there is no message"),
        (
            "INSERT INTO transition (delivery_id, at, input, state, actor, remote, reply)"
            " SELECT max(id), 1, 'defer', 'deferred', '', '', '' FROM delivery",
            "final state",
        ),
    ],
)
def test_the_proof_finds_what_does_not_add_up(tmp_path: Path, spoil: str, found: str) -> None:
    async def run() -> None:
        async with open_ledger(tmp_path / "data") as opened:
            number = await opened.accept("a@example.com", "b@example.com")
            for at in (1, 2):
                await opened.move(number + at, S.QUEUED, H.START)
                if at == 2:
                    happened = H.TAKE_BY_PRIMARY if found == "final state" else H.DEFER
                    await opened.move(number + at, S.ACTIVE, happened)
            assert opened.problems() == []
            await opened.ledger.call(lambda connection: connection.execute(spoil).rowcount)
            assert any(found in problem for problem in opened.problems()), opened.problems()

    asyncio.run(run())
