"""Sending over the API: once per Idempotency-Key, only as oneself, and to everybody who was named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from testkit.api_gateway import ApiGateway


@pytest.fixture
def ann(gateway: ApiGateway) -> httpx.Client:
    return gateway.signed_in("ann@example.com")


def send(client: httpx.Client, key: str | None, **body: Any) -> httpx.Response:
    headers = {} if key is None else {b"idempotency-key": key.encode("latin-1")}
    return client.post("/api/v1/messages", json=body, headers=headers)


def received(gateway: ApiGateway, subject: str) -> list[dict[str, Any]]:
    """Bo's messages with that subject, once there is one."""
    bo = gateway.signed_in("bo@example.com")
    gateway.wait_for_message(bo, "bo@example.com", subject)
    messages = bo.get("/api/v1/mailboxes/bo@example.com/messages", params={"limit": 1000}).json()["messages"]
    return [one for one in messages if one["subject"] == subject]


def test_a_message_goes_to_to_cc_and_bcc_and_the_bcc_is_nobodys_business(
    gateway: ApiGateway, ann: httpx.Client
) -> None:
    body = {"to": ["bo@example.com"], "cc": ["vi@example.com"], "bcc": ["op@example.com"], "subject": "To all three"}
    answer = send(ann, "three", **body, text="Grüße\n")
    assert answer.status_code == 201
    assert answer.json()["recipients"] == ["bo@example.com", "vi@example.com", "op@example.com"]
    for address in answer.json()["recipients"]:
        reader = gateway.signed_in(address)
        found = gateway.wait_for_message(reader, address, "To all three")
        assert found["from"] == "Ann Smith <ann@example.com>"
        assert b"op@example.com" not in reader.get(f"/api/v1/messages/{found['id']}/raw").content
        assert reader.get(f"/api/v1/messages/{found['id']}").json()["text"].strip() == "Grüße"


def test_without_a_key_nothing_is_sent(ann: httpx.Client) -> None:
    answer = send(ann, None, to=["bo@example.com"], subject="No key")
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


@pytest.mark.parametrize("key", ["", "\u00a0", "x" * 201])
def test_a_key_that_is_none_is_refused(ann: httpx.Client, key: str) -> None:
    assert send(ann, key, to=["bo@example.com"]).status_code == 400


def test_the_same_request_again_gets_the_same_answer_and_sends_nothing(gateway: ApiGateway, ann: httpx.Client) -> None:
    first = send(ann, "again", to=["bo@example.com"], subject="Only once")
    second = send(ann, "again", to=["bo@example.com"], subject="Only once")
    assert (first.status_code, second.status_code) == (201, 201)
    assert first.content == second.content
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(received(gateway, "Only once")) == 1


def test_requests_that_race_with_one_key_send_one_message(gateway: ApiGateway, ann: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(send, ann, "race", to=["bo@example.com"], subject="A race") for _ in range(8)]
        statuses = sorted(one.result().status_code for one in tries)
    assert statuses[0] == 201
    assert set(statuses) <= {201, 409}
    assert len(received(gateway, "A race")) == 1


def test_a_key_that_was_used_for_something_else_is_a_conflict(ann: httpx.Client) -> None:
    send(ann, "reused", to=["bo@example.com"], subject="First")
    answer = send(ann, "reused", to=["bo@example.com"], subject="Second")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_key_reused")


def test_after_a_refusal_the_key_is_free_for_the_corrected_message(ann: httpx.Client) -> None:
    assert send(ann, "corrected", to=["no address"], subject="Oops").status_code == 422
    assert send(ann, "corrected", to=["bo@example.com"], subject="Corrected").status_code == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"to": []}, 400),
        ({"to": ["two@signs@example.com"]}, 422),
        ({"to": ["bo@example.com>\r\nRCPT TO:<x@elsewhere.example"]}, 422),
        ({"to": ["bo@example.com"], "colour": "blue"}, 400),
        ({"to": "bo@example.com"}, 400),
    ],
)
def test_what_cannot_be_sent_is_refused_with_the_reason(ann: httpx.Client, body: dict[str, Any], status: int) -> None:
    answer = send(ann, f"bad {body}", **body)
    assert answer.status_code == status
    assert answer.json()["detail"]


@pytest.mark.parametrize("author", ["bo@example.com", "all@example.com", "ceo@elsewhere.example"])
def test_nobody_sends_as_somebody_else(ann: httpx.Client, author: str) -> None:
    answer = send(ann, f"as {author}", **{"from": author}, to=["bo@example.com"])
    assert (answer.status_code, answer.json()["code"]) == (403, "not_allowed")


@pytest.mark.parametrize("author", ["a.smith@example.com", "info@example.com"])
def test_one_sends_as_ones_alias_and_as_a_shared_mailbox(gateway: ApiGateway, ann: httpx.Client, author: str) -> None:
    assert send(ann, f"as {author}", **{"from": author}, to=["bo@example.com"], subject=f"As {author}").is_success
    (found,) = received(gateway, f"As {author}")
    assert found["from"].endswith(f"<{author}>")


def test_a_subject_cannot_bring_header_fields_along(gateway: ApiGateway, ann: httpx.Client) -> None:
    send(ann, "injection", to=["bo@example.com"], subject="Harmless\r\nBcc: victim@elsewhere.example")
    (found,) = received(gateway, "Harmless Bcc: victim@elsewhere.example")
    raw = gateway.signed_in("bo@example.com").get(f"/api/v1/messages/{found['id']}/raw").content
    assert b"\r\nBcc:" not in raw


def test_a_reply_names_the_message_it_answers(gateway: ApiGateway, ann: httpx.Client) -> None:
    send(ann, "question", to=["bo@example.com"], subject="A question")
    (question,) = received(gateway, "A question")
    bo = gateway.signed_in("bo@example.com")
    body = {"to": ["ann@example.com"], "subject": "Re: A question", "in_reply_to": question["id"]}
    assert send(bo, "answer", **body).status_code == 201
    answer = gateway.wait_for_message(ann, "ann@example.com", "Re: A question")
    view = ann.get(f"/api/v1/messages/{answer['id']}").json()
    assert view["in_reply_to"] == [question["message_id"]]
    assert view["references"] == [question["message_id"]]


def test_a_reply_to_a_message_that_is_not_ones_own_is_refused(gateway: ApiGateway, ann: httpx.Client) -> None:
    send(ann, "theirs", to=["bo@example.com"], subject="Between two")
    (theirs,) = received(gateway, "Between two")
    vi = gateway.signed_in("vi@example.com")
    assert send(vi, "peek", to=["vi@example.com"], in_reply_to=theirs["id"]).status_code == 404


def test_multipart_is_not_taken_yet_and_says_so(ann: httpx.Client) -> None:
    answer = ann.post("/api/v1/messages", files={"file": b"data"}, headers={"idempotency-key": "multipart"})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def test_the_control_socket_is_nobody_who_could_write(gateway: ApiGateway) -> None:
    assert send(gateway.control(), "root", to=["bo@example.com"]).status_code == 403
