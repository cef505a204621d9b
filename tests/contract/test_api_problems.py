"""Every error of the API has one shape (RFC 9457), a stable code and a sentence, and tells nothing of our insides."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from testkit.api_gateway import PASSWORD, ApiGateway

NO_ID = "0000000000000"


def check_shape(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "code", "errors"}
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["detail"]
    assert "Traceback" not in answer.text
    return problem


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/nothing/here", None, 404, "not_found"),
        ("GET", "/nothing", None, 404, "not_found"),
        ("GET", "/api/v1/", None, 404, "not_found"),
        ("PUT", "/api/v1/status", None, 405, "method_not_allowed"),
        ("GET", f"/api/v1/events/{NO_ID}", None, 404, "not_found"),
        ("GET", "/api/v1/events/not-an-id", None, 404, "not_found"),
        ("GET", "/api/v1/queue?limit=0", None, 400, "bad_request"),
        ("GET", "/api/v1/queue?state=lost", None, 400, "bad_request"),
        ("GET", "/api/v1/queue?age=old", None, 400, "bad_request"),
        ("GET", "/api/v1/trace", None, 400, "bad_request"),
        ("GET", "/api/v1/trace?q=%20", None, 400, "bad_request"),
        ("POST", "/api/v1/queue/burn", {"selector": "all"}, 404, "not_found"),
        ("POST", "/api/v1/queue/drop", {"selector": "everything"}, 400, "bad_request"),
        ("POST", "/api/v1/queue/drop", {}, 400, "bad_request"),
        ("POST", "/api/v1/events", {"scope": "galaxy:7", "reason": "r"}, 400, "bad_request"),
        ("POST", "/api/v1/events", {"scope": "all", "reason": ""}, 400, "bad_request"),
        ("POST", "/api/v1/events", {"scope": "all", "reason": "r", "extra": 1}, 400, "bad_request"),
        ("POST", "/api/v1/directory/import", {"csv": "no,such,columns\n"}, 400, "bad_request"),
        ("POST", "/api/v1/accounts", {"address": "a b@example.com", "role": "staff"}, 422, "bad_address"),
        ("POST", "/api/v1/accounts", {"address": "ann@example.com", "role": "staff"}, 409, "conflict"),
        ("POST", "/api/v1/accounts", {"address": "new@example.com", "role": "king"}, 400, "bad_request"),
    ],
)
def test_a_refusal_is_a_problem(
    gateway: ApiGateway, method: str, path: str, body: dict[str, Any] | None, status: int, code: str
) -> None:
    check_shape(gateway.signed_in("ow@example.com").request(method, path, json=body), status, code)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[" * 100_000, b'"a string"', b"null"])
def test_a_body_that_is_no_json_of_ours_is_a_problem(gateway: ApiGateway, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = gateway.signed_in("ow@example.com").post("/api/v1/events", content=content, headers=headers)
    check_shape(answer, 400, "bad_request")


def test_a_field_out_of_range_is_named(gateway: ApiGateway) -> None:
    answer = gateway.signed_in("ow@example.com").post("/api/v1/events", json={"scope": "all", "reason": 5})
    problem = check_shape(answer, 400, "bad_request")
    assert problem["errors"][0]["key"] == "reason"
    assert "reason" in problem["detail"]


def test_without_a_token_one_is_asked_to_sign_in(gateway: ApiGateway) -> None:
    answer = gateway.client().get("/api/v1/status")
    check_shape(answer, 401, "not_signed_in")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_role_that_is_too_low_is_told_so(gateway: ApiGateway) -> None:
    check_shape(gateway.signed_in("ann@example.com").get("/api/v1/status"), 403, "not_allowed")


def test_a_body_that_is_too_large_is_a_problem(gateway: ApiGateway) -> None:
    body = {"scope": "all", "reason": "x" * 2_000_000}
    check_shape(gateway.signed_in("ow@example.com").post("/api/v1/events", json=body), 413, "request_too_large")


def test_too_many_wrong_passwords_say_when_to_come_back(gateway: ApiGateway) -> None:
    client = gateway.client(**{"x-forwarded-for": "203.0.113.50"})
    body = {"address": "ann@example.com", "password": "wrong"}
    for _ in range(5):
        check_shape(client.post("/api/v1/session", json=body), 401, "not_signed_in")
    answer = client.post("/api/v1/session", json={**body, "password": PASSWORD})
    check_shape(answer, 429, "too_many_tries")
    assert int(answer.headers["retry-after"]) > 0


def test_a_fault_of_ours_says_nothing_of_our_insides(gateway: ApiGateway) -> None:
    def break_it(hub_owner: object) -> None:
        def broken() -> object:
            raise KeyError("a secret of our insides")

        object.__setattr__(hub_owner, "summary", broken)

    gateway.tell(lambda running: break_it(running.directory))
    try:
        problem = check_shape(gateway.signed_in("ow@example.com").get("/api/v1/status"), 500, "internal_error")
        assert "secret" not in str(problem)
    finally:
        gateway.tell(lambda running: object.__delattr__(running.directory, "summary"))


@pytest.mark.parametrize("path", ["/", "/livez", "/api/v1/openapi.json", "/api/v1/status", "/nothing"])
def test_every_answer_has_headers_that_keep_browsers_from_guessing(gateway: ApiGateway, path: str) -> None:
    headers = gateway.client().get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
