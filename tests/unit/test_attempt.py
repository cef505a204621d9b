"""What an attempt's result says, and of whom (DESIGN §5: only failures of the next hop open its breaker)."""

from __future__ import annotations

import pytest

from stormsail.delivery import LegResult
from stormsail.domain.replies import ReplyClass, Stage
from stormsail.domain.reply import Reply

DAMAGED = LegResult(ReplyClass.MESSAGE_TEMPORARY, Reply(554, "5.6.0", "the bytes are damaged"), Stage.CONNECT)
BROKEN_OFF = LegResult(ReplyClass.MESSAGE_TEMPORARY, Reply(451, "4.3.0", "stopping"), Stage.CONNECT, in_doubt=True)
COVERED = LegResult(None, Reply(250, "2.0.0", "held"), Stage.CONNECT, covered_by=7)
UNREACHABLE = LegResult(ReplyClass.SYSTEM, Reply(451, "4.4.1", "refused"), Stage.CONNECT)
TAKEN = LegResult(ReplyClass.TAKEN, Reply(250, "2.0.0", "ok"), Stage.DOT)
REFUSED = LegResult(ReplyClass.RECIPIENT_REFUSED, Reply(550, "5.1.1", "unknown"), Stage.RCPT)


@pytest.mark.parametrize("result", [UNREACHABLE, TAKEN, REFUSED], ids=["unreachable", "taken", "refused"])
def test_what_a_next_hop_said_or_failed_to_say_tells_of_it(result: LegResult) -> None:
    assert result.tells_of_next_hop


@pytest.mark.parametrize("result", [DAMAGED, BROKEN_OFF, COVERED], ids=["damaged", "broken off", "covered"])
def test_what_went_wrong_here_tells_nothing_of_the_next_hop(result: LegResult) -> None:
    assert not result.tells_of_next_hop
