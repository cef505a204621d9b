"""What anybody may see, and the status as CONTRACT shows it."""

from __future__ import annotations

import base64
import hashlib
import re

import msgspec

from stormsail.wire import Status
from testkit.api_gateway import ApiGateway

EVENT_FIELDS = {"id", "scope", "state", "started_at", "started_by", "reason", "held", "handed_back", "eta_s"}
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def test_the_status_has_every_field_of_the_contract(gateway: ApiGateway) -> None:
    status = gateway.signed_in("vi@example.com").get("/api/v1/status").json()
    assert set(status) == {
        *("version", "hostname", "at", "uptime_s", "verdicts", "events", "queue", "totals"),
        *("directory", "alerts", "readiness", "own_health"),
    }
    assert set(status["queue"]) == {
        *("queued", "active", "deferred", "held", "shielded", "outcome_unknown", "oldest_age_s")
    }
    assert set(status["totals"]) == {
        *("accepted", "relayed", "sent", "filed", "bounced", "refused", "expired", "dropped", "absorbed")
    }
    assert set(status["directory"]) == {"mailboxes", "segments", "age_s"}
    assert set(status["readiness"]) == {"people", "can_sign_in", "push_proven"}
    assert all(set(item) == {"name", "ok", "detail"} for item in status["own_health"])
    assert status["verdicts"] == []
    assert RFC_3339.fullmatch(status["at"])
    msgspec.convert(status, Status)


def test_the_status_counts_people_and_their_accounts(gateway: ApiGateway) -> None:
    status = gateway.signed_in("vi@example.com").get("/api/v1/status").json()
    assert status["hostname"] == "mx.example.com"
    assert status["directory"]["mailboxes"] == 7
    assert status["directory"]["segments"] == 2
    assert status["readiness"] == {"people": 5, "can_sign_in": 5, "push_proven": 0}


def test_accepted_is_the_sum_of_all_states(gateway: ApiGateway) -> None:
    ann = gateway.signed_in("ann@example.com")
    sent = ann.post("/api/v1/messages", json={"to": ["bo@example.com"]}, headers={"idempotency-key": "status-sum"})
    assert sent.status_code == 201
    status = gateway.signed_in("vi@example.com").get("/api/v1/status").json()
    states = [status["queue"][state] for state in status["queue"] if state != "oldest_age_s"]
    states += [status["totals"][state] for state in status["totals"] if state != "accepted"]
    assert status["totals"]["accepted"] == sum(states) > 0


def test_the_page_at_the_root_needs_nothing_from_elsewhere_and_its_policy_allows_its_style(gateway: ApiGateway) -> None:
    answer = gateway.client().get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "/api/v1/openapi.json" in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_probes_answer_without_a_token(gateway: ApiGateway) -> None:
    for path in ("/livez", "/readyz"):
        answer = gateway.client().get(path)
        assert (answer.status_code, answer.text) == (200, "ok\n")


def test_metrics_show_deliveries_by_state_to_a_scraper_on_this_machine(gateway: ApiGateway) -> None:
    text = gateway.client().get("/metrics").text
    for state in ("held", "relayed", "outcome_unknown"):
        assert re.search(rf'^stormsail_deliveries\{{state="{state}"\}} ', text, re.MULTILINE)
    assert 'stormsail_own_health{name="disk"} 1.0' in text
    assert "example.com" not in text


def test_metrics_are_not_for_whoever_comes_through_the_proxy(gateway: ApiGateway) -> None:
    outside = {"x-forwarded-for": "203.0.113.9"}
    assert gateway.client(**outside).get("/metrics").status_code == 401
    assert gateway.signed_in("ann@example.com").get("/metrics", headers=outside).status_code == 401
    assert gateway.signed_in("vi@example.com").get("/metrics", headers=outside).status_code == 200


def test_the_description_of_the_api_is_open_and_names_its_answers(gateway: ApiGateway) -> None:
    description = gateway.client().get("/api/v1/openapi.json").json()
    assert description["openapi"].startswith("3.1")
    send = description["components"]["schemas"]["SendRequest"]
    assert {"from", "to", "cc", "bcc", "subject", "text"} <= set(send["properties"])
    assert set(description["components"]["schemas"]["Event"]["properties"]) >= EVENT_FIELDS
