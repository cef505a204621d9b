"""Signing in and out by token and by cookie, and what another site's page cannot do with the cookie."""

from __future__ import annotations

from http.cookies import SimpleCookie

import httpx
import pytest

from testkit.api_gateway import PASSWORD, ApiGateway

COOKIE = "__Host-stormsail"
OURS = {"sec-fetch-site": "same-origin"}
NEW = {"address": "cookie@example.com", "role": "staff", "password": PASSWORD}


def sign_in(client: httpx.Client, address: str, **more: object) -> httpx.Response:
    return client.post("/api/v1/session", json={"address": address, "password": PASSWORD, **more}, headers=OURS)


@pytest.fixture
def newcomer(gateway: ApiGateway) -> str:
    """Somebody whose account nobody else uses."""
    owner = gateway.control()
    answer = owner.post("/api/v1/accounts", json=NEW)
    if answer.status_code == 409:
        owner.post(f"/api/v1/accounts/{NEW['address']}/enable")
        owner.put(f"/api/v1/accounts/{NEW['address']}/password", json={"password": PASSWORD})
    return NEW["address"]


def cookie_of(answer: httpx.Response) -> SimpleCookie:
    jar: SimpleCookie = SimpleCookie()
    jar.load(answer.headers["set-cookie"])
    return jar


def test_a_token_in_the_answer_and_no_cookie_unless_asked_for(gateway: ApiGateway) -> None:
    answer = sign_in(gateway.client(), "ann@example.com")
    assert set(answer.json()) == {"token", "expires_at", "account"}
    assert len(answer.json()["token"]) == 43
    assert "set-cookie" not in answer.headers


def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(gateway: ApiGateway) -> None:
    answer = sign_in(gateway.client(), "ann@example.com", cookie=True)
    assert answer.json()["token"] is None
    morsel = cookie_of(answer)[COOKIE]
    assert morsel["httponly"]
    assert morsel["secure"]
    assert (morsel["samesite"].lower(), morsel["path"], morsel["domain"]) == ("strict", "/", "")


def test_a_cookie_reads_but_changes_nothing_for_another_sites_page(gateway: ApiGateway) -> None:
    token = cookie_of(sign_in(gateway.client(), "ann@example.com", cookie=True))[COOKIE].value
    client = gateway.client(cookie=f"{COOKIE}={token}")
    assert client.get("/api/v1/session").json()["actor"] == "ann@example.com"
    body = {"current": "wrong", "password": "does not matter"}
    for headers in ({}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"}):
        assert client.put("/api/v1/session/password", json=body, headers=headers).status_code == 403
    for headers in (OURS, {"x-stormsail-request": "1"}):
        assert client.put("/api/v1/session/password", json=body, headers=headers).status_code == 400


def test_another_sites_page_cannot_sign_somebody_in_by_cookie(gateway: ApiGateway) -> None:
    body = {"address": "ann@example.com", "password": PASSWORD, "cookie": True}
    answer = gateway.client().post("/api/v1/session", json=body, headers={"sec-fetch-site": "cross-site"})
    assert answer.status_code == 403


def test_a_stale_token_does_not_keep_one_from_signing_in_again(gateway: ApiGateway) -> None:
    assert sign_in(gateway.client("stale" * 9), "ann@example.com").status_code == 200


def test_signing_out_ends_the_token_and_takes_the_cookie_back(gateway: ApiGateway, newcomer: str) -> None:
    token = cookie_of(sign_in(gateway.client(), newcomer, cookie=True))[COOKIE].value
    client = gateway.client(cookie=f"{COOKIE}={token}")
    answer = client.delete("/api/v1/session", headers=OURS)
    assert answer.status_code == 204
    assert cookie_of(answer)[COOKIE]["max-age"] == "0"
    assert client.get("/api/v1/session").status_code == 401


def test_one_sees_ones_sessions_and_ends_the_one_on_the_lost_phone(gateway: ApiGateway, newcomer: str) -> None:
    phone = gateway.client(sign_in(gateway.client(), newcomer, label="phone").json()["token"])
    laptop = gateway.client(sign_in(gateway.client(), newcomer, label="laptop").json()["token"])
    sessions = laptop.get("/api/v1/sessions").json()["sessions"]
    (lost,) = [one for one in sessions if one["label"] == "phone"]
    assert [one["label"] for one in sessions if one["current"]] == ["laptop"]
    assert laptop.delete(f"/api/v1/sessions/{lost['id']}").status_code == 204
    assert phone.get("/api/v1/session").status_code == 401
    assert laptop.get("/api/v1/session").status_code == 200


def test_changing_ones_password_ends_all_other_sessions(gateway: ApiGateway, newcomer: str) -> None:
    mine = gateway.client(sign_in(gateway.client(), newcomer).json()["token"])
    other = gateway.client(sign_in(gateway.client(), newcomer).json()["token"])
    body = {"current": PASSWORD, "password": "an entirely new one"}
    assert mine.put("/api/v1/session/password", json=body).status_code == 204
    assert mine.get("/api/v1/session").status_code == 200
    assert other.get("/api/v1/session").status_code == 401


def test_a_disabled_account_is_out_at_once(gateway: ApiGateway, newcomer: str) -> None:
    client = gateway.client(sign_in(gateway.client(), newcomer).json()["token"])
    assert client.get("/api/v1/session").status_code == 200
    assert gateway.signed_in("op@example.com").post(f"/api/v1/accounts/{newcomer}/disable").status_code == 200
    assert client.get("/api/v1/session").status_code == 401
    assert sign_in(gateway.client(), newcomer).status_code == 401


def test_a_new_role_holds_from_the_next_request_on(gateway: ApiGateway, newcomer: str) -> None:
    client = gateway.client(sign_in(gateway.client(), newcomer).json()["token"])
    owner = gateway.control()
    assert client.get("/api/v1/queue").status_code == 403
    owner.put(f"/api/v1/accounts/{newcomer}/role", json={"role": "operator"})
    assert client.get("/api/v1/queue").status_code == 200
    owner.put(f"/api/v1/accounts/{newcomer}/role", json={"role": "staff"})
    assert client.get("/api/v1/queue").status_code == 403


def test_an_alias_signs_in_to_the_mailbox_it_belongs_to(gateway: ApiGateway) -> None:
    answer = sign_in(gateway.client(), "A.Smith@example.com")
    assert answer.json()["account"]["address"] == "ann@example.com"


def test_at_the_control_socket_the_services_own_user_is_an_owner_without_an_account(gateway: ApiGateway) -> None:
    session = gateway.control().get("/api/v1/session").json()
    assert session["role"] == "owner"
    assert session["actor"].startswith("uid:")
    assert session["account"] is None
    assert gateway.control().delete("/api/v1/session").status_code == 401


def test_whoever_uses_the_control_socket_is_in_the_audit_trail_by_name(gateway: ApiGateway) -> None:
    actor = gateway.control().get("/api/v1/session").json()["actor"]
    gateway.control().post("/api/v1/reload")
    (newest,) = gateway.control().get("/api/v1/audit?limit=1").json()["entries"]
    assert (newest["actor"], newest["action"]) == (actor, "reload")
