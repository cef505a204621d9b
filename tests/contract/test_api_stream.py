"""The live stream: what each reader sees, how it goes on after a break, and how it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import httpx
import pytest

from stormsail.domain.roles import Role
from stormsail.http import Audience, live
from stormsail.wire import EventChange
from testkit.api_gateway import PASSWORD, ApiGateway, api_gateway

PATIENCE_S = 10.0


class Listener:
    """Reads events one at a time."""

    def __init__(self, answer: httpx.Response) -> None:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        self._lines = answer.iter_lines()

    def next(self) -> dict[str, Any]:
        """The next event as {"id", "event", "data"}; StopIteration at the end of the stream."""
        event: dict[str, Any] = {}
        for line in self._lines:
            if not line and "data" in event:
                return event
            name, colon, value = line.partition(": ")
            if colon and name in ("id", "event", "data"):
                event[name] = json.loads(value) if name == "data" else value
        raise StopIteration

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of that kind."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            event = self.next()
            if event["event"] == kind:
                return event
        raise AssertionError(f"no {kind} came")


@contextmanager
def listening(client: httpx.Client, after: str | None = None) -> Iterator[Listener]:
    headers = {} if after is None else {"last-event-id": after}
    with client.stream("GET", "/api/v1/stream", headers=headers, timeout=PATIENCE_S) as answer:
        yield Listener(answer)


def publish(gateway: ApiGateway, kind: str, role: Role = Role.STAFF) -> None:
    gateway.tell(lambda running: running.hub.publish(kind, None, Audience(role)))  # type: ignore[arg-type]


def wait_for_readers(gateway: ApiGateway, count: int) -> None:
    deadline = time.monotonic() + PATIENCE_S
    found: list[int] = [-1]
    while found[-1] != count:
        assert time.monotonic() < deadline, f"{found[-1]} readers instead of {count}"
        gateway.tell(lambda running: found.append(running.hub.readers))


def test_a_new_message_is_told_to_its_reader_and_to_nobody_else(gateway: ApiGateway) -> None:
    ann, bo = gateway.signed_in("ann@example.com"), gateway.signed_in("bo@example.com")
    with listening(ann) as hers, listening(bo) as his:
        wait_for_readers(gateway, 2)
        message = EmailMessage()
        message["Subject"] = "Live"
        message.set_content("Hello\n")
        gateway.receive(message, "bo@example.com")
        event = his.until("mailbox")
        assert event["data"]["data"]["mailbox"] == "bo@example.com"
        assert event["id"] == event["data"]["id"]
        publish(gateway, "coverage")
        assert hers.next()["event"] == "coverage"
    wait_for_readers(gateway, 0)


def test_staff_see_no_operators_items(gateway: ApiGateway) -> None:
    ann, vi = gateway.signed_in("ann@example.com"), gateway.signed_in("vi@example.com")
    with listening(ann) as hers, listening(vi) as theirs:
        wait_for_readers(gateway, 2)
        publish(gateway, "queue", Role.VIEWER)
        publish(gateway, "coverage")
        assert hers.until("coverage")["event"] == "coverage"
        assert theirs.until("queue")["event"] == "queue"
    (_, *seen) = [item["kind"] for item in ann.get("/api/v1/stream/recent").json()["items"]] or [None]
    assert "queue" not in seen


def test_a_reader_that_comes_back_with_its_last_id_misses_nothing(gateway: ApiGateway) -> None:
    ann = gateway.signed_in("ann@example.com")
    with listening(ann) as first:
        wait_for_readers(gateway, 1)
        publish(gateway, "coverage")
        last = first.until("coverage")["id"]
    for _ in range(3):
        publish(gateway, "coverage")
    missed = ann.get("/api/v1/stream/recent", params={"after": last}).json()
    assert missed["complete"]
    assert len([item for item in missed["items"] if item["kind"] == "coverage"]) == 3
    with listening(ann, last) as second:
        ids = [second.until("coverage")["id"] for _ in range(3)]
    assert ids == [item["id"] for item in missed["items"] if item["kind"] == "coverage"]
    assert all(one > last for one in ids)


@pytest.mark.parametrize("after", ["0000000000001", "not an id"])
def test_a_reader_whose_last_id_is_not_known_is_told_to_read_everything_anew(gateway: ApiGateway, after: str) -> None:
    ann = gateway.signed_in("ann@example.com")
    with listening(ann, after) as stream:
        assert stream.next()["event"] == "reset"
    assert not ann.get("/api/v1/stream/recent", params={"after": after}).json()["complete"]


def test_viewers_see_an_event_and_the_new_status_and_everybody_is_told_to_look_whether_they_may_write(
    gateway: ApiGateway,
) -> None:
    vi, ann = gateway.signed_in("vi@example.com"), gateway.signed_in("ann@example.com")
    with listening(vi) as theirs, listening(ann) as hers:
        wait_for_readers(gateway, 2)
        body = {"scope": "mailbox:vi@example.com", "reason": "live"}
        event = gateway.signed_in("op@example.com").post("/api/v1/events", json=body).json()
        assert theirs.until("event")["data"]["data"]["id"] == event["id"]
        status = theirs.until("status")["data"]["data"]
        assert event["id"] in [one["id"] for one in status["events"]]
        assert hers.until("coverage")
    gateway.signed_in("op@example.com").post(f"/api/v1/events/{event['id']}/end", json={"force": True})


def test_a_reader_that_stops_reading_is_let_go(gateway: ApiGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "SEND_PATIENCE_S", 0.2)
    large = EventChange(id="0", scope="all", state="active", paused=False, reason="x" * 100_000)
    with gateway.signed_in("ann@example.com").stream("GET", "/api/v1/stream"):
        wait_for_readers(gateway, 1)
        for _ in range(3):
            for _ in range(50):
                gateway.tell(lambda running: running.hub.publish("event", large))
        wait_for_readers(gateway, 0)


def test_a_disabled_accounts_stream_ends_at_once(gateway: ApiGateway) -> None:
    body = {"address": "stream@example.com", "role": "staff", "password": PASSWORD}
    gateway.control().post("/api/v1/accounts", json=body)
    with listening(gateway.signed_in("stream@example.com", fresh=True)) as stream:
        wait_for_readers(gateway, 1)
        gateway.control().post("/api/v1/accounts/stream@example.com/disable")
        with pytest.raises(StopIteration):
            stream.next()


def test_streams_say_bye_when_the_gateway_stops_and_the_stop_is_quick(tmp_path: Path) -> None:
    with api_gateway(tmp_path) as gateway:
        client = gateway.signed_in("ann@example.com")
        with listening(client) as stream:
            wait_for_readers(gateway, 1)
            gateway.begin_stop()
            assert stream.next()["event"] == "bye"
            with pytest.raises(StopIteration):
                stream.next()
        began = time.monotonic()
        gateway.stop()
        assert time.monotonic() - began < 5
