"""The state machine of deliveries, looked at as a whole: every state with every input."""

import pytest

from stormsail.domain.states import FINAL, OPEN, WAITING, DeliveryInput, DeliveryState, step

S, I = DeliveryState, DeliveryInput  # noqa: E741

MOVES: dict[tuple[DeliveryState, DeliveryInput], DeliveryState] = {
    **{(state, I.START): S.ACTIVE for state in OPEN - {S.ACTIVE}},
    (S.ACTIVE, I.TAKE_BY_PRIMARY): S.RELAYED,
    (S.ACTIVE, I.TAKE_BY_INTERNET): S.SENT,
    **{(state, I.FILE): S.FILED for state in OPEN},
    (S.ACTIVE, I.DEFER): S.DEFERRED,
    (S.ACTIVE, I.SHIELD): S.SHIELDED,
    **{(state, I.BOUNCE): S.BOUNCED for state in OPEN},
    (S.ACTIVE, I.REFUSE): S.REFUSED,
    (S.ACTIVE, I.LOSE_REPLY): S.OUTCOME_UNKNOWN,
    **{(state, I.COVER): S.HELD for state in OPEN - {S.HELD}},
    (S.HELD, I.KEEP): S.HELD,
    **{(state, I.HOLD): S.HELD for state in WAITING},
    (S.HELD, I.RELEASE): S.QUEUED,
    **{(state, I.RETRY): S.QUEUED for state in WAITING},
    **{(state, I.DROP): S.DROPPED for state in OPEN - {S.ACTIVE}},
    **{(state, I.EXPIRE): S.EXPIRED for state in OPEN - {S.HELD}},
}


@pytest.mark.parametrize("state", list(DeliveryState))
@pytest.mark.parametrize("happened", list(DeliveryInput))
def test_each_input_moves_each_state_as_the_table_says(state: DeliveryState, happened: DeliveryInput) -> None:
    assert step(state, happened) == MOVES.get((state, happened))


@pytest.mark.parametrize("state", sorted(FINAL))
def test_a_final_state_is_never_left(state: DeliveryState) -> None:
    assert {step(state, happened) for happened in DeliveryInput} == {None}


def test_every_open_state_has_a_way_to_the_end() -> None:
    for state in OPEN:
        seen, todo = set(), [state]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += [after for happened in DeliveryInput if (after := step(at, happened)) is not None]
        assert seen & FINAL, state
