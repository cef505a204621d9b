"""How attempts are written down: each move once, also where it is written again long after (DESIGN §3.1, §3.4)."""

from __future__ import annotations

from pathlib import Path

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
POLICY = LanePolicy("exchange", 1, 1, 5.0, Timeouts(5.0, 5.0), RetrySchedule(1.0, 1.0))
TAKEN = LegResult(ReplyClass.TAKEN, Reply(250, "2.0.0", "ok"), Stage.DOT)
NOT_NOW = LegResult(ReplyClass.SYSTEM, Reply(451, "4.3.2", "not now"), Stage.MAIL)


async def _nobody(attempt: Attempt, failed: list[FailedLeg]) -> bool:
    return False


class Desk:
    """A settlement on an open ledger."""

    def __init__(self, opened: OpenLedger) -> None:
        self._opened = opened
        self.settlement = Settlement(
            SettleParts(
                ledger=opened.ledger,
                clock=opened.clock,
                chance=lambda: 0.5,
                notify=_nobody,
                refused=lambda message, leg, about: None,
                due=lambda lane, at_ms: None,
                active=lambda event: False,
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
