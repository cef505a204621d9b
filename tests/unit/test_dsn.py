"""Delivery status notifications, judged by Python's `email` package (RFC 3464 §2, RFC 6522 §3, RFC 3461 §6.3)."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormsail.domain.reply import Reply, parse_reply
from stormsail.mail.dsn import FailedRecipient, Notice, build_dsn

UNKNOWN = Reply(550, "5.1.1", "<a@example.net> is unknown here")
HEADER = b"From: Ann <ann@example.com>\r\nSubject: out\r\nX-Long: " + b"x" * 3000 + b"\r\n\tfolded\r\n\r\n"
OCTETS = st.binary(max_size=400)


def notice(*failed: FailedRecipient, to: str = "ann@example.com") -> Notice:
    return Notice(
        "mx.example.com",
        to,
        "1.2@mx.example.com",
        "Mon, 02 Mar 2026 10:00:00 +0000",
        "Mon, 02 Mar 2026 09:59:00 +0000",
        "0123456789abc",
        "=_boundary",
        failed or (FailedRecipient("a@example.net", UNKNOWN, "mx.example.net (192.0.2.1:25)"),),
    )


def parts(content: bytes) -> tuple[EmailMessage, str, list[EmailMessage], str]:
    """The notice, its words, its blocks (message first, then recipients), and the returned header."""
    assert content.isascii()
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\0" not in content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    words, status, returned = cast("list[EmailMessage]", message.get_payload())
    assert not words.defects
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() == "text/rfc822-headers"
    blocks = cast("list[EmailMessage]", status.get_payload())
    return message, str(words.get_payload()), blocks, str(returned.get_payload())


def test_a_notice_says_to_people_and_programs_what_failed_for_whom_and_why() -> None:
    content = build_dsn(notice(), HEADER)
    message, words, blocks, returned = parts(content)
    assert str(message["From"]) == "Mail Delivery System <MAILER-DAEMON@mx.example.com>"
    assert message["To"].addresses[0].addr_spec == "ann@example.com"
    assert message["Auto-Submitted"] == "auto-replied"
    assert "a@example.net" in words
    assert "550 5.1.1" in words
    about_message, about_recipient = blocks
    assert about_message["Reporting-MTA"] == "dns; mx.example.com"
    assert about_message["Arrival-Date"] == "Mon, 02 Mar 2026 09:59:00 +0000"
    assert about_recipient["Final-Recipient"] == "rfc822; a@example.net"
    assert about_recipient["Action"] == "failed"
    assert about_recipient["Status"] == "5.1.1"
    assert about_recipient["Remote-MTA"] == "dns; mx.example.net (192.0.2.1:25)"
    assert about_recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 <a@example.net> is unknown here"
    assert "Subject: out" in returned


def test_all_that_failed_together_are_in_one_notice() -> None:
    failed = tuple(FailedRecipient(f"r{number}@example.net", UNKNOWN, "") for number in range(30))
    _, words, blocks, _ = parts(build_dsn(notice(*failed), HEADER))
    assert [block["Final-Recipient"] for block in blocks[1:]] == [
        f"rfc822; r{number}@example.net" for number in range(30)
    ]
    assert all(one.recipient in words for one in failed)
    assert not any("Remote-MTA" in block for block in blocks)


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (Reply(550, "5.7.1", "no"), "5.7.1"),
        (Reply(550, "", "no enhanced code"), "5.0.0"),
        (Reply(550, "2.0.0", "a code that cannot be"), "5.0.0"),
        (Reply(451, "4.4.7", "expired"), "4.4.7"),
        (parse_reply(554, "5.6.0 \x1b[2J\r\nX-Evil: 1\xff" + "x" * 5000), "5.6.0"),
    ],
)
def test_the_status_is_a_status_whatever_the_peer_said(reply: Reply, status: str) -> None:
    _, _, blocks, _ = parts(build_dsn(notice(FailedRecipient("a@example.net", reply, "")), HEADER))
    assert blocks[1]["Status"] == status
    assert blocks[1]["Diagnostic-Code"].startswith(f"smtp; {reply.code}")
    assert "X-Evil" not in blocks[1]


@pytest.mark.parametrize(
    "recipient", ['"a b"@example.net', "ä@example.net", "x" * 64 + "@" + "y" * 60 + ".example", "a;b@example.net"]
)
def test_any_recipient_can_be_named(recipient: str) -> None:
    _, _, blocks, _ = parts(build_dsn(notice(FailedRecipient(recipient, UNKNOWN, "")), HEADER))
    kind, _, shown = str(blocks[1]["Final-Recipient"]).partition("; ")
    assert kind == ("rfc822" if recipient.isascii() else "utf-8")
    assert shown == (recipient if recipient.isascii() else recipient.encode("ascii", "replace").decode())


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"\r\n",
        b"no header at all",
        b"Subject: caf\xe9 \xff\xfe\r\n\r\n",
        b"Subject: x\r\n\r\n--=_another\r\nContent-Type: text/html\r\n\r\n",
        b"Subject: x\r\n--=_another--\r\nX: y\r\n",
        b"X: \0\x1b[31m\x07\r\n",
        b"X: " + b"y" * 100_000 + b"\r\n",
        b"X: y\r\n" * 50_000,
        b"\r\n\r\n\r\nX: y\r\n",
    ],
    ids=range(10),
)
def test_any_header_can_be_returned_and_breaks_nothing(header: bytes) -> None:
    content = build_dsn(notice(), header)
    _, _, blocks, returned = parts(content)
    assert len(blocks) == 2
    assert len(content) < 40_000
    assert "\x1b" not in returned


@given(header=OCTETS, reply=st.text(max_size=300), remote=st.text(max_size=300), recipient=st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_from_outside_the_notice_keeps_its_form(
    header: bytes, reply: str, remote: str, recipient: str
) -> None:
    failed = FailedRecipient(recipient, parse_reply(550, reply), remote)
    _, _, blocks, _ = parts(build_dsn(notice(failed), header))
    assert len(blocks) == 2
    assert set(blocks[1].keys()) <= {"Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code"}
