"""Mailboxes over the API: lists, search, one message in all its forms, flags and folders, and who sees whose."""

from __future__ import annotations

from email.message import EmailMessage
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from testkit.api_gateway import ApiGateway

BO_BOX = "/api/v1/mailboxes/bo@example.com/messages"
MESSAGE_FIELDS = {"id", "subject", "from", "date", "folder", "flags", "size"}
EVIL_NAME = 'in"voice X-Evil: 1/../наклад.html'


def letter(subject: str, text: str = "Hello\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Someone Else <someone@elsewhere.example>"
    message["To"] = "bo@example.com"
    message["Subject"] = subject
    message["Message-ID"] = f"<{subject.replace(' ', '.')}@elsewhere.example>"
    message.set_content(text)
    return message


def receive(gateway: ApiGateway, subject: str, text: str = "Hello\n", to: str = "bo@example.com") -> dict[str, Any]:
    gateway.receive(letter(subject, text), to)
    reader = "bo@example.com" if to == "bo@example.com" else "ann@example.com"
    return gateway.wait_for_message(gateway.signed_in(reader), to, subject)


@pytest.fixture
def bo(gateway: ApiGateway) -> httpx.Client:
    return gateway.signed_in("bo@example.com")


def test_a_list_shows_what_a_mail_program_shows(gateway: ApiGateway) -> None:
    found = receive(gateway, "What a list shows")
    assert set(found) >= MESSAGE_FIELDS
    assert found["from"] == "Someone Else <someone@elsewhere.example>"
    assert (found["folder"], found["flags"], found["state"]) == ("inbox", [], "ready")
    assert found["preview"] == "Hello"


def test_pages_lead_to_each_other_newest_first_without_gap_or_repeat(gateway: ApiGateway, bo: httpx.Client) -> None:
    for number in range(5):
        receive(gateway, f"Paging {number}")
    subjects: list[str] = []
    before = None
    while True:
        page = bo.get(BO_BOX, params={"q": "Paging", "limit": 2, **({"before": before} if before else {})}).json()
        subjects += [one["subject"] for one in page["messages"]]
        before = page["next"]
        if before is None:
            break
    assert subjects == [f"Paging {number}" for number in (4, 3, 2, 1, 0)]


def test_a_search_finds_words_of_the_text(gateway: ApiGateway, bo: httpx.Client) -> None:
    receive(gateway, "Searching", "The quarterly kumquat report\n")
    found = bo.get(BO_BOX, params={"q": "kumquat"}).json()["messages"]
    assert [one["subject"] for one in found] == ["Searching"]


def test_reading_a_message_does_not_mark_it_as_read(gateway: ApiGateway, bo: httpx.Client) -> None:
    found = receive(gateway, "Reading changes nothing")
    view = bo.get(f"/api/v1/messages/{found['id']}").json()
    assert view["text"].strip() == "Hello"
    assert {"name": "Subject", "value": "Reading changes nothing"} in view["headers"]
    assert bo.get(f"/api/v1/messages/{found['id']}").json()["message"]["flags"] == []


def test_the_source_has_the_reverse_path_and_every_byte_as_it_came(gateway: ApiGateway, bo: httpx.Client) -> None:
    found = receive(gateway, "The source")
    answer = bo.get(f"/api/v1/messages/{found['id']}/raw")
    assert answer.headers["content-type"] == "message/rfc822"
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.content.startswith(b"Return-Path: <someone@elsewhere.example>\r\n")
    assert answer.content.endswith(letter("The source").as_bytes().replace(b"\n", b"\r\n"))
    assert len(answer.content) == found["size"]


def test_an_attachment_is_a_download_whatever_it_claims_to_be(gateway: ApiGateway, bo: httpx.Client) -> None:
    message = letter("With an attachment")
    message.add_attachment(b"<script>alert(1)</script>", "text", "html", filename="invoice.html")
    gateway.receive(message, "bo@example.com")
    found = gateway.wait_for_message(bo, "bo@example.com", "With an attachment")
    view = bo.get(f"/api/v1/messages/{found['id']}").json()
    (attachment,) = view["attachments"]
    assert attachment["name"] == "invoice.html"
    answer = bo.get(f"/api/v1/messages/{found['id']}/attachments/{attachment['part']}")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith('attachment; filename="invoice.html"')
    assert "sandbox" in answer.headers["content-security-policy"]


def test_an_attachments_name_cannot_break_out_of_its_header(gateway: ApiGateway, bo: httpx.Client) -> None:
    message = letter("A name of evil")
    message.add_attachment(b"data", "application", "pdf", filename=EVIL_NAME)
    gateway.receive(message, "bo@example.com")
    found = gateway.wait_for_message(bo, "bo@example.com", "A name of evil")
    (attachment,) = bo.get(f"/api/v1/messages/{found['id']}").json()["attachments"]
    answer = bo.get(f"/api/v1/messages/{found['id']}/attachments/{attachment['part']}")
    disposition = answer.headers["content-disposition"]
    assert disposition.isascii()
    assert disposition.count('"') == 2
    assert "/" not in disposition


def test_flags_and_folder_change_together(gateway: ApiGateway, bo: httpx.Client) -> None:
    found = receive(gateway, "Flags and folder")
    path = f"/api/v1/messages/{found['id']}"
    changed = bo.patch(path, json={"flags": ["seen", "flagged"], "folder": "archive"}).json()
    assert (changed["flags"], changed["folder"]) == (["flagged", "seen"], "archive")
    in_archive = bo.get(BO_BOX, params={"folder": "archive"}).json()["messages"]
    assert found["id"] in [one["id"] for one in in_archive]
    assert bo.patch(path, json={"flags": []}).json()["flags"] == []
    assert bo.patch(path, json={"folder": "nowhere"}).status_code == 400


def test_folders_are_counted(gateway: ApiGateway, bo: httpx.Client) -> None:
    def unread() -> int:
        (mailbox,) = bo.get("/api/v1/mailboxes").json()["mailboxes"]
        counts: dict[str, int] = {one["name"]: one["unread"] for one in mailbox["folders"]}
        return counts["inbox"]

    found = receive(gateway, "Counting")
    before = unread()
    bo.patch(f"/api/v1/messages/{found['id']}", json={"flags": ["seen"]})
    assert unread() == before - 1


def test_a_delegate_has_the_shared_mailboxes_beside_their_own(gateway: ApiGateway) -> None:
    ann = gateway.signed_in("ann@example.com").get("/api/v1/mailboxes").json()["mailboxes"]
    assert [(one["address"], one["own"]) for one in ann] == [
        ("ann@example.com", True),
        ("info@example.com", False),
        ("sales/uk@example.com", False),
    ]
    bo = gateway.signed_in("bo@example.com").get("/api/v1/mailboxes").json()["mailboxes"]
    assert [one["address"] for one in bo] == ["bo@example.com"]
    assert gateway.control().get("/api/v1/mailboxes").json() == {"mailboxes": []}


@pytest.mark.parametrize("address", ["info@example.com", "sales/uk@example.com"])
def test_mail_to_a_shared_address_is_read_by_its_members_and_by_no_one_else(gateway: ApiGateway, address: str) -> None:
    found = receive(gateway, f"To {address}", to=address)
    path = f"/api/v1/mailboxes/{quote(address, safe='')}/messages"
    assert gateway.signed_in("bo@example.com").get(path).status_code == 403
    assert gateway.signed_in("bo@example.com").get(f"/api/v1/messages/{found['id']}").status_code == 404
    assert gateway.signed_in("ann@example.com").get(f"/api/v1/messages/{found['id']}").status_code == 200


def test_ones_mailbox_is_found_by_its_alias_too(gateway: ApiGateway) -> None:
    ann = gateway.signed_in("ann@example.com")
    assert ann.get("/api/v1/mailboxes/a.smith@example.com/messages").status_code == 200


@pytest.mark.parametrize("reader", ["ann@example.com", "vi@example.com", "op@example.com"])
def test_a_colleagues_message_does_not_exist_for_staff_viewers_and_operators(gateway: ApiGateway, reader: str) -> None:
    found = receive(gateway, f"Not for {reader}")
    client = gateway.signed_in(reader)
    for path in ("", "/raw", "/attachments/1"):
        assert client.get(f"/api/v1/messages/{found['id']}{path}").status_code == 404
    assert client.patch(f"/api/v1/messages/{found['id']}", json={"flags": ["seen"]}).status_code == 404
    assert client.get(BO_BOX).status_code == 403
    assert client.get("/api/v1/mailboxes/unknown@example.com/messages").status_code == 403


def test_an_owner_looks_into_a_colleagues_mailbox_and_it_is_written_down_first(gateway: ApiGateway) -> None:
    found = receive(gateway, "An owner looks")
    owner = gateway.signed_in("ow@example.com")
    assert owner.get(BO_BOX).status_code == 200
    assert owner.get(f"/api/v1/messages/{found['id']}").status_code == 200
    entries = owner.get("/api/v1/audit?limit=2").json()["entries"]
    assert [(one["actor"], one["action"], one["target"]) for one in entries] == [
        ("ow@example.com", "message.read", "bo@example.com"),
        ("ow@example.com", "mailbox.list", "bo@example.com"),
    ]
    assert entries[0]["detail"] == found["id"]


def test_an_owner_changes_nothing_in_a_colleagues_mailbox(gateway: ApiGateway) -> None:
    found = receive(gateway, "An owner may not change")
    owner = gateway.signed_in("ow@example.com")
    assert owner.patch(f"/api/v1/messages/{found['id']}", json={"flags": ["seen"]}).status_code == 403
    assert owner.get("/api/v1/mailboxes/unknown@example.com/messages").status_code == 404


def test_an_owners_own_mail_is_not_written_down(gateway: ApiGateway) -> None:
    owner = gateway.signed_in("ow@example.com")
    before = owner.get("/api/v1/audit?limit=1").json()["entries"][0]["id"]
    assert owner.get("/api/v1/mailboxes/ow@example.com/messages").status_code == 200
    assert owner.get("/api/v1/audit?limit=1").json()["entries"][0]["id"] == before


def test_an_operator_traces_a_message_with_its_header_but_without_its_body(gateway: ApiGateway) -> None:
    found = receive(gateway, "Tracing a message", "the secret body\n")
    operator = gateway.signed_in("op@example.com")
    for query in (found["trace_id"], "<Tracing.a.message@elsewhere.example>", "tracing message"):
        (traced,) = operator.get("/api/v1/trace", params={"q": query}).json()["messages"]
        assert traced["id"] == found["trace_id"]
        assert traced["subject"] == "Tracing a message"
        assert traced["reverse_path"] == "someone@elsewhere.example"
        (delivery,) = traced["deliveries"]
        assert delivery["recipient"] == "bo@example.com"
        assert delivery["steps"][0]["input"] == "accept"
    answer = operator.get(f"/api/v1/trace/{found['trace_id']}/header")
    assert answer.headers["content-type"].startswith("text/plain")
    assert "Subject: Tracing a message" in answer.text
    assert "Stormsail-Trace: v1;" in answer.text
    assert "the secret body" not in answer.text
