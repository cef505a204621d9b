"""Continuity events over the API: holding, refusing to end, balance, and who may write meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.api_gateway import CONFIG, ApiGateway, api_gateway
from testkit.waiting import wait_until

ONLY_IN_EVENTS = CONFIG.replace('sending = "always"', 'sending = "event_only"')


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[ApiGateway]:
    """A gateway of its own: an event is everybody's business."""
    with api_gateway(tmp_path, ONLY_IN_EVENTS) as running:
        yield running


def letter(subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "someone@elsewhere.example"
    message["Subject"] = subject
    message.set_content("Hello\n")
    return message


def activate(operator: httpx.Client, scope: str, reason: str = "the primary is down") -> dict[str, Any]:
    answer = operator.post("/api/v1/events", json={"scope": scope, "reason": reason})
    assert answer.status_code == 201, answer.text
    event: dict[str, Any] = answer.json()
    return event


def held_by(operator: httpx.Client, event: str, count: int) -> dict[str, Any]:
    """The event in the status, once it says that it holds so many."""

    def found() -> dict[str, Any] | None:
        events = operator.get("/api/v1/status").json()["events"]
        return next((one for one in events if one["id"] == event and one["held"] == count), None)

    shown = wait_until(found, f"{count} held deliveries")
    assert shown is not None
    return shown


def test_an_event_holds_the_mail_of_its_scope_and_its_balance_comes_out(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    event = activate(operator, "mailbox:bo@example.com")
    assert (event["state"], event["scope"]) == ("active", "mailbox:bo@example.com")
    assert event["started_by"] == "op@example.com"
    for number in range(3):
        gateway.receive(letter(f"Held {number}"), "bo@example.com")
    shown = held_by(operator, event["id"], 3)
    assert shown["handed_back"] == 0

    page = operator.get("/api/v1/queue", params={"state": "held", "limit": 2}).json()
    assert page["matching"] == 3
    rest = operator.get("/api/v1/queue", params={"state": "held", "after": page["next"]}).json()
    both = page["deliveries"] + rest["deliveries"]
    assert [one["recipient"] for one in both] == ["bo@example.com"] * 3
    assert {one["kept_by"] for one in both} == {event["id"]}
    assert {one["due_at"] for one in both} == {None}

    dropped = operator.post("/api/v1/queue/drop", json={"selector": f"id:{both[0]['id']}"})
    assert dropped.json() == {"changed": 1}
    report = operator.get(f"/api/v1/events/{event['id']}/report", params={"messages": "true"}).json()
    assert report["balanced"]
    expected = {"came_in": 3, "handed_back": 0, "filed_only_here": 0, "refused": 0, "dropped": 1, "still_open": 2}
    assert report["balance"] == expected
    assert report["mailboxes"] == [{"mailbox": "bo@example.com", **expected}]
    assert sorted(one["state"] for one in report["messages"]) == ["dropped", "held", "held"]
    assert [line["kind"] for line in report["timeline"]] == ["activated"]


def test_an_event_does_not_end_while_the_primary_refuses(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    event = activate(operator, "segment:leeds")
    gateway.receive(letter("Still held"), "bo@example.com")
    held_by(operator, event["id"], 1)
    refused = operator.post(f"/api/v1/events/{event['id']}/end")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert "primary" in refused.json()["detail"]
    assert operator.get(f"/api/v1/events/{event['id']}").json()["state"] == "active"
    (newest,) = operator.get("/api/v1/audit?limit=1").json()["entries"]
    assert (newest["actor"], newest["action"], newest["target"]) == ("op@example.com", "event.end", event["id"])
    assert newest["detail"].startswith("refused: ")


def test_an_event_without_held_mail_ends_and_is_remembered(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    event = activate(operator, "domain:example.com")
    ended = operator.post(f"/api/v1/events/{event['id']}/end", json={"force": True})
    assert ended.status_code == 200
    assert ended.json()["ended_by"] == "op@example.com"
    wait_until(lambda: operator.get("/api/v1/events").json()["events"] == [], "the event to close")
    assert operator.get("/api/v1/status").json()["events"] == []
    for query in ({"state": "any"}, {"state": "closed"}):
        (closed,) = operator.get("/api/v1/events", params=query).json()["events"]
        assert (closed["id"], closed["state"]) == (event["id"], "closed")
    assert operator.get("/api/v1/status", params={"state": "any"}).json()["events"][0]["id"] == event["id"]
    assert operator.post(f"/api/v1/events/{event['id']}/end").status_code == 409


def test_a_scope_has_one_event_at_a_time(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    activate(operator, "all")
    answer = operator.post("/api/v1/events", json={"scope": "all", "reason": "once more"})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_what_is_not_handing_back_cannot_be_paused(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    event = activate(operator, "all")
    for move in ("pause", "resume"):
        assert operator.post(f"/api/v1/events/{event['id']}/{move}").status_code == 409


def test_people_write_only_while_an_event_covers_them(gateway: ApiGateway) -> None:
    ann, bo = gateway.signed_in("ann@example.com"), gateway.signed_in("bo@example.com")
    body = {"to": ["bo@example.com"], "subject": "May I?"}
    assert not ann.get("/api/v1/session").json()["may_send"]
    refused = ann.post("/api/v1/messages", json=body, headers={"idempotency-key": "one"})
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    activate(gateway.signed_in("op@example.com"), "segment:london")
    assert ann.get("/api/v1/session").json()["may_send"]
    assert not bo.get("/api/v1/session").json()["may_send"]
    assert ann.post("/api/v1/messages", json=body, headers={"idempotency-key": "one"}).status_code == 201
    assert bo.post("/api/v1/messages", json=body, headers={"idempotency-key": "two"}).status_code == 403


def test_the_way_the_queue_was_moved_is_in_the_trace_and_in_the_audit(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    gateway.receive(letter("Moved about"), "vi@example.com")
    rows = wait_until(
        lambda: operator.get("/api/v1/queue", params={"recipient": "vi@example.com", "state": "deferred"}).json()[
            "deliveries"
        ],
        "the delivery to be deferred",
    )
    selector = {"selector": "recipient:vi@example.com"}
    assert operator.post("/api/v1/queue/hold", json=selector).json() == {"changed": 1}
    assert operator.post("/api/v1/queue/release", json={"selector": "recipient:vi@example.com state:held"}).is_success
    (traced,) = operator.get("/api/v1/trace", params={"q": rows[0]["message_id"]}).json()["messages"]
    steps = traced["deliveries"][0]["steps"]
    assert [step["input"] for step in steps if step["actor"] == "op@example.com"] == ["hold", "release"]
    entries = operator.get("/api/v1/audit?limit=2").json()["entries"]
    assert [(one["action"], one["detail"]) for one in entries] == [
        ("queue.release", "1 deliveries"),
        ("queue.hold", "1 deliveries"),
    ]
    lanes = operator.get("/api/v1/queue/lanes").json()["lanes"]
    assert [lane["name"] for lane in lanes] == ["primary:nobody"]
