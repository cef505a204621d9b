"""The pure decisions as a whole: the routing table, the states of deliveries, and what an attempt may lead to (DESIGN §1, §5)."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormsail.domain.outcome import RetrySchedule, Tried, decide
from stormsail.domain.replies import ReplyClass
from stormsail.domain.routing import Direction, RecipientKind, Route, outward_lane, primary_lane, route
from stormsail.domain.scope import ActiveEvent, Coverage, Scope, ScopeKind, Subject
from stormsail.domain.states import FINAL, OPEN, WAITING, DeliveryInput, DeliveryState, step

DAY = 86_400_000
NAMES = st.sampled_from(["ann@example.com", "bob@example.com", "leeds", "london", "example.com", "example.org"])
TRIED = st.builds(
    Tried, direction=st.sampled_from(Direction), to_primary=st.booleans(), known=st.booleans(), in_doubt=st.booleans(),
    attempts=st.integers(0, 10_000), first_attempt_at=st.integers(0, 400 * DAY), now=st.integers(0, 500 * DAY),
    chance=st.floats(0, 1, exclude_max=True),
)  # fmt: skip
EVENTS = st.lists(
    st.builds(ActiveEvent, st.integers(1, 9), st.builds(Scope, st.sampled_from(ScopeKind), NAMES), st.frozensets(NAMES)),
    max_size=4,
)  # fmt: skip
SUBJECTS = st.builds(Subject, NAMES, NAMES, st.one_of(st.none(), NAMES))


@pytest.mark.parametrize(("direction", "kind", "covered"), list(product(Direction, RecipientKind, (True, False))))
def test_the_routing_table_has_no_hole_and_no_open_relay(
    direction: Direction, kind: RecipientKind, covered: bool
) -> None:
    way = route(direction, kind, covered)
    assert (way is Route.HOLD) == (kind is RecipientKind.OURS and covered)
    assert (way is Route.RELAY) == (kind is RecipientKind.OURS and not covered)
    assert (way is Route.REJECT) == (kind is RecipientKind.FOREIGN and direction is Direction.MX)
    assert (way is Route.OUT) == (kind is RecipientKind.FOREIGN and direction is not Direction.MX)


@given(st.text(max_size=20), st.text(max_size=20), st.booleans())
def test_a_lane_to_a_primary_is_never_one_to_the_internet(primary: str, domain: str, smarthost: bool) -> None:
    assert primary_lane(primary) != outward_lane(domain, smarthost)


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from(DeliveryInput)), max_size=60))
def test_whatever_happens_no_delivery_is_lost_and_none_leaves_a_final_state(
    happenings: list[tuple[int, DeliveryInput]],
) -> None:
    states = [DeliveryState.QUEUED] * 6
    for which, happened in happenings:
        before = states[which]
        states[which] = step(before, happened) or before
        assert before not in FINAL or states[which] is before
        assert sum(Counter(states).values()) == 6
        assert sum(Counter(states)[state] for state in OPEN | FINAL) == 6


def test_open_and_final_states_are_all_and_have_none_in_common() -> None:
    assert set(DeliveryState) == OPEN | FINAL
    assert not OPEN & FINAL
    assert WAITING < OPEN


@given(about=st.sampled_from(ReplyClass), tried=TRIED, first=st.floats(0.1, 100), most=st.floats(100, 10_000))
@settings(max_examples=500)
def test_every_outcome_of_an_attempt_is_a_move_and_is_due_again_where_it_is_not_the_end(
    about: ReplyClass, tried: Tried, first: float, most: float
) -> None:
    outcome = decide(about, tried, RetrySchedule(first, most))
    state = step(DeliveryState.ACTIVE, outcome.happened)
    assert state is not None
    if state in WAITING:
        assert outcome.due_at is not None
        assert outcome.due_at > tried.now
    else:
        assert outcome.due_at is None
    assert not (tried.in_doubt and state in FINAL - {DeliveryState.EXPIRED}), "a lost reply is no verdict"
    if tried.to_primary and tried.known:
        assert state is not DeliveryState.EXPIRED
    if tried.direction is Direction.MX:
        assert not outcome.notify_author, "no backscatter"


@given(EVENTS, SUBJECTS, st.one_of(st.none(), st.integers(1, 9)))
def test_the_oldest_event_that_covers_holds_and_one_left_out_never_does(
    events: list[ActiveEvent], subject: Subject, but: int | None
) -> None:
    found = Coverage(1, tuple(events)).event_for(subject, but)
    covering = [event.id for event in events if event.covers(subject) and event.id != but]
    assert found == (covering[0] if covering else None)
