"""How attempts are written down: each move once, also where it is written again long after (DESIGN §3.1, §3.4)."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormsail.delivery.attempt import Attempt, LegResult, stored_leg, stored_outgoing
from stormsail.delivery.hops import LanePolicy
from stormsail.delivery.settle import FailedLeg, Settlement, SettleParts
from stormsail.domain.outcome import RetrySchedule
from stormsail.domain.replies import ReplyClass, Stage
from stormsail.domain.reply import Reply
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change
from stormsail.smtpclient.transaction import Timeouts
from testkit.open_ledger import LANE, OpenLedger, story

S, H = DeliveryState, DeliveryInput
EVENT = 77
POLICY = LanePolicy("exchange", 1, 1, 5.0, Timeouts(5.0, 5.0), RetrySchedule(1.0, 1.0))
TAKEN = LegResult(ReplyClass.TAKEN, Reply(250, "2.0.0", "ok"), Stage.DOT)
NOT_NOW = LegResult(ReplyClass.SYSTEM, Reply(451, "4.3.2", "not now"), Stage.MAIL)


async def _nobody(attempt: Attempt, failed: list[FailedLeg]) -> bool:
    return False


class Desk:
    """A settlement on an open ledger; `active` are the events that hold mail now."""

    def __init__(self, opened: OpenLedger) -> None:
        self.active: set[int] = set()
        self.due: list[int] = []
        self._opened = opened
        self.settlement = Settlement(
            SettleParts(
                ledger=opened.ledger,
                clock=opened.clock,
                chance=lambda: 0.5,
                notify=_nobody,
                refused=lambda message, leg, about: None,
                due=lambda lane, at_ms: self.due.append(at_ms),
                active=self.active.__contains__,
            )
        )

    async def begin(self, message: int) -> Attempt:
        """Claims the message's only delivery, as the schedule does."""
        row = await self._opened.only(message)
        now = self._opened.clock.now_ms()
        start = Change(row.id, row.state, H.START, now, attempt=row.attempts)
        assert await self._opened.ledger.change([start]) == [True]
        return Attempt(stored_outgoing(await self._opened.reader.message(message)), [stored_leg(row, now)])

    async def settle(self, attempt: Attempt, result: LegResult) -> None:
        """Writes it down and waits until that is done."""
        self.settlement.settle(LANE, POLICY, attempt, [result], "mx:25", 1)
        await self.settlement.finish()


def test_an_outcome_that_is_written_again_is_not_taken_for_that_of_the_next_attempt(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        desk = Desk(opened)
        number = await opened.accept()
        first = await desk.begin(number)
        await desk.settle(first, NOT_NOW)
        second = await desk.begin(number)
        await desk.settle(first, NOT_NOW)
        assert (await opened.only(number)).state is S.ACTIVE, "the second attempt is still on its way"
        await desk.settle(second, TAKEN)
        row = await opened.only(number)
        assert (row.state, row.attempts) == (S.RELAYED, 2)

    story(tmp_path / "data", life)


def test_a_claim_of_a_row_that_has_been_tried_meanwhile_is_none(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        desk = Desk(opened)
        number = await opened.accept()
        await desk.settle(await desk.begin(number), NOT_NOW)
        read = await opened.only(number)
        await desk.settle(await desk.begin(number), NOT_NOW)
        late = Change(read.id, read.state, H.START, opened.clock.now_ms(), attempt=read.attempts)
        assert await opened.ledger.change([late]) == [False]

    story(tmp_path / "data", life)


@pytest.mark.parametrize("still_active", [True, False])
def test_a_trial_that_fails_is_held_again_only_while_its_event_is_active(tmp_path: Path, still_active: bool) -> None:
    async def life(opened: OpenLedger) -> None:
        desk = Desk(opened)
        if still_active:
            desk.active.add(EVENT)
        number = await opened.accept(state=S.HELD)
        trial = await desk.begin(number)
        trial.drain_of, trial.trial = EVENT, True
        await desk.settle(trial, NOT_NOW)
        row = await opened.only(number)
        assert (row.state, row.kept_by) == ((S.HELD, EVENT) if still_active else (S.DEFERRED, None))
        assert desk.due == ([] if still_active else [row.due_at])

    story(tmp_path / "data", life)


def test_an_event_that_ends_before_the_move_is_written_holds_nothing_more(tmp_path: Path) -> None:
    async def life(opened: OpenLedger) -> None:
        desk = Desk(opened)
        number = await opened.accept()
        attempt = await desk.begin(number)
        desk.active.add(EVENT)
        covered = LegResult(None, Reply(250, "2.0.0", "covered"), Stage.CONNECT, covered_by=EVENT)
        desk.settlement.settle(LANE, POLICY, attempt, [covered], "", 1)
        desk.active.clear()
        await desk.settlement.finish()
        row = await opened.only(number)
        assert (row.state, row.kept_by, row.due_at) == (S.DEFERRED, None, opened.clock.now_ms())
        assert desk.due == [row.due_at]

    story(tmp_path / "data", life)
