"""Who may do what: every operation of the API with every role. The table is held against the API's own description."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from stormsail.domain.roles import Role
from testkit.api_gateway import PEOPLE, ApiGateway

NO_ID = "0000000000000"
NOBODY = "nobody@example.com"
WHO: dict[str, Role | None] = {"nobody": None, **{role.value: role for role in Role}}
ADDRESS_OF = {role: address for address, role in PEOPLE.items() if address != "bo@example.com"}


@dataclass(frozen=True)
class Operation:
    """One operation, the least role that may do it, and a request that harms nothing."""

    method: str
    path: str
    least: Role
    body: dict[str, Any] | None = None
    query: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


OPERATIONS = [
    Operation("GET", "/status", Role.VIEWER),
    Operation("GET", "/events", Role.VIEWER),
    Operation("POST", "/events", Role.OPERATOR, {"scope": "segment:nowhere", "reason": "test"}),
    Operation("GET", "/events/{event_id}", Role.VIEWER),
    Operation("POST", "/events/{event_id}/end", Role.OPERATOR),
    Operation("POST", "/events/{event_id}/pause", Role.OPERATOR),
    Operation("POST", "/events/{event_id}/resume", Role.OPERATOR),
    Operation("GET", "/events/{event_id}/report", Role.VIEWER),
    Operation("GET", "/queue", Role.OPERATOR),
    Operation("GET", "/queue/lanes", Role.OPERATOR),
    Operation("POST", "/queue/{move}", Role.OPERATOR, {"selector": f"recipient:{NOBODY}"}),
    Operation("GET", "/trace", Role.OPERATOR, query={"q": NOBODY}),
    Operation("GET", "/trace/{message_id}/header", Role.OPERATOR),
    Operation("GET", "/mailboxes", Role.STAFF),
    Operation("GET", "/mailboxes/{address}/messages", Role.STAFF),
    Operation("GET", "/messages/{message_id}", Role.STAFF),
    Operation("PATCH", "/messages/{message_id}", Role.STAFF, {"flags": []}),
    Operation("GET", "/messages/{message_id}/raw", Role.STAFF),
    Operation("GET", "/messages/{message_id}/attachments/{part}", Role.STAFF),
    Operation("POST", "/messages", Role.STAFF, {"to": [NOBODY]}),
    Operation("GET", "/session", Role.STAFF),
    Operation("DELETE", "/session", Role.STAFF),
    Operation("PUT", "/session/password", Role.STAFF, {"current": "wrong", "password": "does not matter"}),
    Operation("GET", "/sessions", Role.STAFF),
    Operation("DELETE", "/sessions/{session_id}", Role.STAFF),
    Operation("GET", "/accounts", Role.OPERATOR),
    Operation("POST", "/accounts", Role.OWNER, {"address": "no address", "role": "staff"}),
    Operation("POST", "/accounts/{nobody}/disable", Role.OPERATOR),
    Operation("POST", "/accounts/{nobody}/enable", Role.OPERATOR),
    Operation("PUT", "/accounts/{nobody}/password", Role.OWNER, {"password": "long enough for this"}),
    Operation("PUT", "/accounts/{nobody}/role", Role.OWNER, {"role": "staff"}),
    Operation("GET", "/audit", Role.OPERATOR),
    Operation("GET", "/directory", Role.OPERATOR),
    Operation("POST", "/directory/import", Role.OPERATOR, {"csv": "no,such,columns\n"}),
    Operation("GET", "/directory/learnt", Role.OPERATOR),
    Operation("GET", "/stream", Role.STAFF),
    Operation("GET", "/stream/recent", Role.STAFF),
    Operation("POST", "/reload", Role.OPERATOR),
    Operation("GET", "/ledger/check", Role.OPERATOR),
]
OPEN_TO_ALL = {("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("POST", "/api/v1/session")}


def path_of(operation: Operation, own: str) -> str:
    """The path with ids that do not exist, and the asker's own mailbox."""
    ids = dict.fromkeys(("event_id", "message_id", "session_id"), NO_ID)
    return "/api/v1" + operation.path.format(**ids, part="1", move="retry", nobody=NOBODY, address=own)


def status_of(client: httpx.Client, operation: Operation, own: str) -> int:
    """The answer's status; of a live stream only the beginning is waited for."""
    path = path_of(operation, own)
    with client.stream(operation.method, path, json=operation.body, params=operation.query) as answer:
        return answer.status_code


def test_the_table_has_every_operation_of_the_api(gateway: ApiGateway) -> None:
    paths = gateway.client().get("/api/v1/openapi.json").json()["paths"]
    described = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    listed = {(one.method, "/api/v1" + one.path.replace("{nobody}", "{address}")) for one in OPERATIONS}
    assert described == listed | OPEN_TO_ALL


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
@pytest.mark.parametrize("who", WHO)
def test_each_role_may_do_what_the_table_says_and_no_more(gateway: ApiGateway, operation: Operation, who: str) -> None:
    role = WHO[who]
    own = ADDRESS_OF[role] if role is not None else NOBODY
    client = gateway.client() if role is None else gateway.signed_in(own, fresh=operation.method == "DELETE")
    status = status_of(client, operation, own)
    if role is None:
        assert status == 401
    elif role.includes(operation.least):
        assert status not in (401, 403)
    else:
        assert status == 403


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_a_token_that_is_none_opens_nothing(gateway: ApiGateway, operation: Operation) -> None:
    assert status_of(gateway.client("x" * 43), operation, NOBODY) == 401


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_no_operation_fails_for_reasons_of_its_own(gateway: ApiGateway, operation: Operation) -> None:
    own = ADDRESS_OF[Role.OWNER]
    client = gateway.signed_in(own, fresh=operation.method == "DELETE")
    assert status_of(client, operation, own) < 500


def test_an_operator_disables_staff_but_no_other_operator(gateway: ApiGateway) -> None:
    operator = gateway.signed_in("op@example.com")
    assert operator.post("/api/v1/accounts/ow@example.com/disable").status_code == 403
    gateway.control().post("/api/v1/accounts", json={"address": "temp@example.com", "role": "staff"})
    assert operator.post("/api/v1/accounts/temp@example.com/disable").status_code == 200
    assert operator.post("/api/v1/accounts/temp@example.com/enable").status_code == 200


def test_messages_in_a_report_are_for_operators(gateway: ApiGateway) -> None:
    path = f"/api/v1/events/{NO_ID}/report?messages=true"
    assert gateway.signed_in("vi@example.com").get(path).status_code == 403
    assert gateway.signed_in("op@example.com").get(path).status_code == 404
