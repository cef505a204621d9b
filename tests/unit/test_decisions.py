"""Routing, coverage, breaker, retry and outcome: the pure decisions behind every delivery."""

import pytest

from stormsail.domain.breaker import Breaker
from stormsail.domain.errors import BadRequest
from stormsail.domain.outcome import NEVER, RetrySchedule, Tried, decide
from stormsail.domain.replies import ReplyClass
from stormsail.domain.retry import retry_delay_ms
from stormsail.domain.routing import Direction, RecipientKind, Route, route
from stormsail.domain.scope import ActiveEvent, Coverage, Scope, ScopeKind, Subject, parse_scope
from stormsail.domain.states import DeliveryInput

DAY = 86_400_000
SCHEDULE = RetrySchedule(15, 3600)
ANN = Subject("ann@example.com", "example.com", "leeds")


@pytest.mark.parametrize("direction", list(Direction))
def test_mail_for_us_goes_to_the_primary_unless_an_event_covers_it(direction: Direction) -> None:
    assert route(direction, RecipientKind.OURS, covered=False) is Route.RELAY
    assert route(direction, RecipientKind.OURS, covered=True) is Route.HOLD


@pytest.mark.parametrize("covered", [True, False])
def test_the_mx_door_takes_nothing_for_others_and_the_inner_doors_send_it_out(covered: bool) -> None:
    assert route(Direction.MX, RecipientKind.FOREIGN, covered) is Route.REJECT
    for inner in (Direction.CONNECTOR, Direction.COMPOSE, Direction.SUBMISSION, Direction.DSN):
        assert route(inner, RecipientKind.FOREIGN, covered) is Route.OUT


@pytest.mark.parametrize(
    ("text", "covers"),
    [
        ("all", True), ("domain:Example.com", True), ("domain:example.org", False), ("segment:leeds", True),
        ("segment:london", False), ("mailbox:ANN@example.com", True), ("mailbox:bob@example.com", False),
    ],
)  # fmt: skip
def test_a_scope_covers_those_in_it(text: str, covers: bool) -> None:
    assert ActiveEvent(1, parse_scope(text)).covers(ANN) is covers


@pytest.mark.parametrize("text", ["", "everything", "all:x", "segment:", "mailbox:nobody", "domain:a b", "leeds"])
def test_a_scope_without_meaning_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_scope(text)


def test_whoever_moved_away_stays_covered_and_the_oldest_event_holds() -> None:
    moved = ActiveEvent(2, Scope(ScopeKind.SEGMENT, "london"), frozenset({"ann@example.com"}))
    coverage = Coverage(1, (moved, ActiveEvent(3, Scope(ScopeKind.ALL))))
    assert coverage.event_for(ANN) == 2
    assert coverage.event_for(Subject("bob@example.com", "example.com", "leeds")) == 3


def test_the_first_minutes_are_dense_and_later_waits_do_not_grow_beyond_the_limit() -> None:
    waits = [retry_delay_ms(failures, 15, 3600, 0.5) / 1000 for failures in range(1, 30)]
    assert waits[0] == 15
    assert sum(waits[:5]) < 300
    assert waits == sorted(waits)
    assert waits[-1] == 3600
    assert retry_delay_ms(1, 15, 3600, 0.0) == 12_000
    assert retry_delay_ms(1, 15, 3600, 0.999999) < 18_001


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_trial_through() -> None:
    breaker = Breaker()
    for _ in range(4):
        breaker = breaker.failure(0, 0.5)
    assert breaker.closed
    breaker = breaker.failure(0, 0.5)
    assert not breaker.closed
    assert not breaker.allows(1000, 0, 10)
    assert breaker.allows(5000, 0, 10)
    assert not breaker.allows(5000, 1, 10)


def test_trials_that_succeed_close_the_breaker_step_by_step_and_one_that_fails_opens_it_longer() -> None:
    breaker = Breaker(5, 5000, 5000)
    again = breaker.failure(6000, 0.5)
    assert again.wait_ms == 10_000
    assert again.open_until_ms == 16_000
    one = breaker.success()
    assert one.allows(6000, 1, 10)
    assert one.success().success().closed


def test_a_success_forgets_failures() -> None:
    assert Breaker(4).success().failures == 0


def tried(**known: object) -> Tried:
    values: dict[str, object] = {
        "direction": Direction.MX, "to_primary": True, "known": True, "in_doubt": False, "attempts": 1,
        "first_attempt_at": 0, "now": 0, "chance": 0.5,
    }  # fmt: skip
    return Tried(**(values | known))  # type: ignore[arg-type]


def test_what_the_primary_or_the_internet_takes_is_final() -> None:
    assert decide(ReplyClass.TAKEN, tried(), SCHEDULE).happened is DeliveryInput.TAKE_BY_PRIMARY
    assert decide(ReplyClass.TAKEN, tried(to_primary=False), SCHEDULE).happened is DeliveryInput.TAKE_BY_INTERNET


def test_a_reply_that_was_lost_is_not_taken_for_a_refusal() -> None:
    for about in ReplyClass:
        assert decide(about, tried(in_doubt=True), SCHEDULE).happened is DeliveryInput.LOSE_REPLY


def test_a_failing_primary_is_tried_again_within_two_minutes_however_often_it_failed() -> None:
    outcome = decide(ReplyClass.SYSTEM, tried(attempts=30), SCHEDULE)
    assert outcome.happened is DeliveryInput.DEFER
    assert outcome.due_at is not None
    assert outcome.due_at <= 144_000


def test_mail_for_a_known_mailbox_never_expires_and_other_mail_does_after_five_days() -> None:
    held = decide(ReplyClass.SYSTEM, tried(now=5 * DAY), SCHEDULE)
    assert (held.happened, bool(held.alert)) == (DeliveryInput.COVER, True)
    out = decide(ReplyClass.SYSTEM, tried(now=5 * DAY, to_primary=False, direction=Direction.COMPOSE), SCHEDULE)
    assert (out.happened, out.notify_author) == (DeliveryInput.EXPIRE, True)


def test_a_known_mailbox_is_shielded_and_after_a_day_a_person_decides() -> None:
    assert decide(ReplyClass.RECIPIENT_REFUSED, tried(), SCHEDULE).happened is DeliveryInput.SHIELD
    late = decide(ReplyClass.RECIPIENT_REFUSED, tried(now=DAY), SCHEDULE)
    assert (late.happened, late.due_at, bool(late.alert)) == (DeliveryInput.SHIELD, NEVER, True)


def test_strangers_get_no_notice_and_authors_of_ours_do() -> None:
    for about in (ReplyClass.MESSAGE_REFUSED, ReplyClass.MESSAGE_TOO_LARGE):
        assert decide(about, tried(), SCHEDULE).happened is DeliveryInput.REFUSE
        ours = decide(about, tried(direction=Direction.COMPOSE), SCHEDULE)
        assert (ours.happened, ours.notify_author) == (DeliveryInput.BOUNCE, True)
    unknown = decide(ReplyClass.RECIPIENT_REFUSED, tried(known=False), SCHEDULE)
    assert unknown.happened is DeliveryInput.REFUSE
