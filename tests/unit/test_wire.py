"""The API's structs: what is on the wire is what CONTRACT shows."""

from __future__ import annotations

import inspect

import msgspec
import pytest

from stormsail import wire
from stormsail.domain.states import FINAL, OPEN
from stormsail.wire import Answer, Asked, Problem, QueueCounts, SendRequest, Totals

REQUESTS = [
    kind for _, kind in inspect.getmembers(wire, inspect.isclass) if issubclass(kind, Asked) and kind is not Asked
]
ANSWERS = [
    kind for _, kind in inspect.getmembers(wire, inspect.isclass) if issubclass(kind, Answer) and kind is not Answer
]


def test_the_author_of_a_message_is_called_from() -> None:
    asked = msgspec.json.decode(b'{"from":"ann@example.com","to":["bo@example.com"]}', type=SendRequest)
    assert asked.author == "ann@example.com"
    assert b'"from":"ann@example.com"' in msgspec.json.encode(asked)


def test_a_misspelt_field_of_a_request_is_refused_rather_than_ignored() -> None:
    with pytest.raises(msgspec.ValidationError, match="bbc"):
        msgspec.json.decode(b'{"to":["bo@example.com"],"bbc":["cy@example.com"]}', type=SendRequest)


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_every_request_refuses_unknown_fields(kind: type[Asked]) -> None:
    assert kind.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("kind", ANSWERS, ids=lambda kind: kind.__name__)
def test_an_answer_may_grow_without_breaking_its_readers(kind: type[Answer]) -> None:
    assert not kind.__struct_config__.forbid_unknown_fields


def test_every_state_of_a_delivery_has_its_place_in_the_status() -> None:
    assert set(QueueCounts.__struct_fields__) - {"oldest_age_s"} == {state.value for state in OPEN}
    assert set(Totals.__struct_fields__) - {"accepted"} == {state.value for state in FINAL}


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    problem = Problem(title="Conflict", status=409, detail="A sentence.", code="conflict")
    assert set(msgspec.to_builtins(problem)) == {"type", "title", "status", "detail", "code", "errors"}
