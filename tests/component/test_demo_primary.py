"""The sandbox primary, as a process: mail in, out and inside, IMAP to look into it, and every way to break it."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stormsail.demo.faults import TAKEN, Faults, read_faults, write_faults
from stormsail.demo.people import DOMAIN, EVERYBODY, INFO, PEOPLE, STAFF_PASSWORD, directory_csv
from stormsail.demo.primary.settings import SandboxSettings
from stormsail.domain.errors import BadRequest
from stormsail.domain.replies import Stage
from testkit.certificates import Authority, client_context
from testkit.ports import free_port
from testkit.scripted_smtp import Behaviour, ScriptedSmtp
from testkit.waiting import wait_for_port, wait_until

AMELIA, RACHEL = PEOPLE[0], PEOPLE[10]


class Primary:
    """A running sandbox primary."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder / "tls")
        files = self.authority.issue(["127.0.0.1"])
        (folder / "people.csv").write_text(directory_csv(), "utf-8")
        self.mail = folder / "mail"
        self.settings = SandboxSettings(
            directory_csv=str(folder / "people.csv"),
            mail_dir=str(self.mail),
            certificate=str(files.certificate),
            key=str(files.key),
            smtp_port=free_port(),
            submission_port=free_port(),
            imap_port=free_port(),
            connector_port=free_port(),
        )
        (folder / "primary.json").write_bytes(msgspec.json.encode(self.settings))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "stormsail.demo.primary", str(self.folder / "primary.json")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.settings.imap_port, "the sandbox primary", self._process)

    def stop(self) -> None:
        assert self._process is not None
        self._process.terminate()
        assert self._process.wait(15) == 0

    def break_it(self, *what: str) -> None:
        """Breaks exactly this and waits until the primary has taken it in."""
        faults = Faults()
        for each in what:
            faults = faults.with_broken(each)
        write_faults(self.mail, faults)
        wait_until(lambda: read_faults(self.mail, TAKEN) == faults, "the primary to break")

    def send(self, *recipients: str, text: bytes = b"hello\r\n") -> dict[str, Any]:
        with smtplib.SMTP("127.0.0.1", self.settings.smtp_port, timeout=10) as client:
            head = (
                b"From: x@example.org\r\nTo: them\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@x>\r\n\r\n"
            )
            return client.sendmail("x@example.org", recipients, head + text)

    def refusal(self, recipient: str) -> str:
        """What the primary says instead of taking a message."""
        with pytest.raises((smtplib.SMTPException, OSError)) as caught:
            self.send(recipient)
        return str(caught.value)

    def imap(self, address: str, password: str = STAFF_PASSWORD) -> Any:
        """A signed-in client; imaplib's types are too vague to be of use."""
        client = imaplib.IMAP4("127.0.0.1", self.settings.imap_port, timeout=5)
        client.login(address, password)
        return client

    def inbox(self, address: str, folder: str = "INBOX") -> list[bytes]:
        client = self.imap(address)
        client.select(folder, readonly=True)
        _, answer = client.fetch("1:*", "(BODY.PEEK[])")
        client.logout()
        return [part[1] for part in answer if isinstance(part, tuple)]

    def submit(self, author: str, *recipients: str) -> dict[str, Any]:
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = author, ", ".join(recipients), "from inside"
        message.set_content("hello")
        with smtplib.SMTP("127.0.0.1", self.settings.submission_port, timeout=10) as client:
            client.login(author, STAFF_PASSWORD)
            return client.send_message(message)


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[Primary]:
    running = Primary(tmp_path)
    running.start()
    yield running
    running.stop()


def test_mail_arrives_once_for_alias_tag_shared_address_and_group(primary: Primary) -> None:
    primary.send(AMELIA.alias, AMELIA.address.replace("@", "+news@"), INFO)
    primary.send(EVERYBODY)
    assert len(primary.inbox(AMELIA.address)) == 2
    assert len(primary.inbox(INFO)) == 1
    assert len(primary.inbox(RACHEL.address)) == 1
    message = primary.inbox(RACHEL.address)[0]
    assert message.startswith(b"Return-Path: <x@example.org>\r\nReceived: ")
    assert message.endswith(b"Message-ID: <1@x>\r\n\r\nhello\r\n")


def test_strangers_and_unknown_recipients_are_refused(primary: Primary) -> None:
    assert "5.1.10" in primary.refusal(f"nobody@{DOMAIN}")
    assert "5.7.54" in primary.refusal("someone@example.net")


def test_starttls_has_a_certificate_of_the_demos_authority(primary: Primary) -> None:
    with smtplib.SMTP("127.0.0.1", primary.settings.smtp_port, timeout=10) as client:
        client.starttls(context=client_context(primary.authority.certificate))
        assert isinstance(client.sock, ssl.SSLSocket)
        client.sendmail("x@example.org", [AMELIA.address], b"Subject: by TLS\r\n\r\n")
    assert b"ESMTPS" in primary.inbox(AMELIA.address)[0]


def test_what_its_people_write_goes_inside_and_through_the_connector_with_the_mark(primary: Primary) -> None:
    async def story() -> None:
        behaviour = Behaviour(
            recipients={"later@example.org": ["451 4.7.1 not yet", "250 ok"], "never@example.org": "550 5.1.1 no"}
        )
        async with ScriptedSmtp(behaviour, primary.settings.connector_port) as gateway:
            recipients = (RACHEL.address, "bob@example.org", "later@example.org", "never@example.org")
            await asyncio.to_thread(primary.submit, AMELIA.address, *recipients)
            await asyncio.to_thread(wait_until, lambda: len(gateway.messages) == 2, "both tries")
            assert [taken.recipients for taken in gateway.messages] == [["bob@example.org"], ["later@example.org"]]
            assert all(taken.content.count(b"X-OriginatorOrg: " + DOMAIN.encode()) == 1 for taken in gateway.messages)
            assert gateway.messages[0].reverse_path == AMELIA.address

    asyncio.run(story())
    assert len(primary.inbox(RACHEL.address)) == 1
    assert len(primary.inbox(AMELIA.address, "Sent")) == 1
    wait_until(lambda: b"never@example.org" in b"".join(primary.inbox(AMELIA.address)), "the notice of the refusal")


def test_outgoing_mail_waits_while_the_connector_is_away_and_survives_a_restart(primary: Primary) -> None:
    primary.submit(AMELIA.address, "bob@example.org")
    primary.stop()
    primary.start()

    async def story() -> None:
        async with ScriptedSmtp(port=primary.settings.connector_port) as gateway:
            await asyncio.to_thread(wait_until, lambda: gateway.messages, "the message")

    asyncio.run(story())


def test_nobody_submits_without_a_password_or_as_somebody_else(primary: Primary) -> None:
    with smtplib.SMTP("127.0.0.1", primary.settings.submission_port, timeout=10) as client:
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(AMELIA.address, ["bob@example.org"], b"Subject: x\r\n\r\n")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(AMELIA.address, "wrong")
        client.login(AMELIA.address, STAFF_PASSWORD)
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail(RACHEL.address, ["bob@example.org"], b"Subject: x\r\n\r\n")


def test_imap_shows_flags_search_and_parts_and_keeps_them_over_a_restart(primary: Primary) -> None:
    primary.send(AMELIA.address)
    primary.send(AMELIA.address, text=b"second\r\n")
    client = primary.imap(AMELIA.address)
    assert {line.split()[-1] for line in client.list()[1]} == {b"INBOX", b"Sent", b"Junk", b"Trash"}
    assert client.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")[1] == [b'"INBOX" (MESSAGES 2 UNSEEN 2 UIDNEXT 3)']
    assert client.select()[1] == [b"2"]
    assert client.search(None, "UNSEEN", "BODY", "second")[1] == [b"2"]
    client.literal = "grüße".encode()
    assert client.search("UTF-8", "SUBJECT")[1] == [b"1 2"]
    assert client.fetch("1", "(BODY[TEXT])")[1][0][1] == b"hello\r\n"
    assert client.fetch("2", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)]<0.8>)")[1][0][1] == b"Subject:"
    assert b'"=?utf-8?q?Gr=C3=BC=C3=9Fe?="' in client.fetch("1", "(ENVELOPE UID)")[1][0]
    assert client.store("2", "+FLAGS", "(\\Flagged)")[1] == [b"2 (FLAGS (\\Flagged))"]
    client.logout()
    primary.stop()
    primary.start()
    client = primary.imap(AMELIA.address)
    client.select()
    assert client.search(None, "SEEN")[1] == [b"1"]
    assert client.search(None, "FLAGGED")[1] == [b"2"]
    client.store("1", "+FLAGS.SILENT", "\\Deleted")
    assert client.expunge()[1] == [b"1"]
    primary.send(AMELIA.address)
    client.noop()
    assert client.uid("FETCH", "1:*", "(FLAGS)")[1] == [b"1 (UID 2 FLAGS (\\Flagged))", b"2 (UID 3 FLAGS ())"]


def test_imap_describes_and_gives_the_parts_of_a_message(primary: Primary) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "X <x@example.org>", AMELIA.address, "parts"
    message.set_content("text")
    message.add_attachment(b"%PDF-1.4", maintype="application", subtype="pdf", filename="plan.pdf")
    with smtplib.SMTP("127.0.0.1", primary.settings.smtp_port, timeout=10) as client:
        client.send_message(message, "x@example.org", [AMELIA.address])
    reader = primary.imap(AMELIA.address)
    reader.select()
    structure = reader.fetch("1", "(BODYSTRUCTURE)")[1][0]
    assert b'"APPLICATION" "PDF"' in structure
    assert b'("ATTACHMENT" ("FILENAME" "plan.pdf"))' in structure
    assert reader.fetch("1", "(BODY.PEEK[1])")[1][0][1] == b"text\r\n"
    assert b"base64" in reader.fetch("1", "(BODY.PEEK[2.MIME])")[1][0][1]


def test_a_broken_inbound_refuses_or_drops_and_heals(primary: Primary) -> None:
    primary.break_it("inbound")
    said = {primary.refusal(AMELIA.address)[:60] for _ in range(6)}
    assert any("4.7.500" in words for words in said)
    assert len(said) > 1
    primary.break_it()
    primary.send(AMELIA.address)


def test_a_broken_segment_touches_only_its_people(primary: Primary) -> None:
    primary.break_it("segment:leeds")
    assert "451" in primary.refusal(RACHEL.address)
    primary.send(AMELIA.address)
    client = primary.imap(RACHEL.address)
    assert client.select()[0] == "NO"


def test_bounces_hit_people_who_exist(primary: Primary) -> None:
    primary.break_it("bounce")
    assert "5.1.10" in primary.refusal(AMELIA.address)


def test_a_broken_identity_lets_nobody_in(primary: Primary) -> None:
    primary.break_it("identity")
    with pytest.raises(imaplib.IMAP4.error):
        primary.imap(AMELIA.address)
    with pytest.raises(smtplib.SMTPAuthenticationError, match="454"):
        primary.submit(AMELIA.address, RACHEL.address)
    primary.send(AMELIA.address)


def test_broken_mailboxes_take_mail_deliver_none_and_hang(primary: Primary) -> None:
    client = primary.imap(AMELIA.address)
    primary.break_it("mailbox")
    primary.send(AMELIA.address)
    with pytest.raises(TimeoutError):
        client.noop()
    primary.break_it()
    assert len(primary.inbox(AMELIA.address)) == 1


def test_a_broken_outbound_sends_nothing_until_it_is_healed(primary: Primary) -> None:
    async def story() -> None:
        async with ScriptedSmtp(port=primary.settings.connector_port) as gateway:
            await asyncio.to_thread(primary.break_it, "outbound")
            await asyncio.to_thread(primary.submit, AMELIA.address, "bob@example.org")
            assert Stage.CONNECT not in gateway.arrivals
            await asyncio.to_thread(primary.break_it)
            await asyncio.to_thread(wait_until, lambda: gateway.messages, "the message")

    asyncio.run(story())


def test_when_all_is_broken_nobody_gets_a_connection_and_all_comes_back(primary: Primary) -> None:
    client = primary.imap(AMELIA.address)
    primary.break_it("all")
    for port in (primary.settings.smtp_port, primary.settings.submission_port, primary.settings.imap_port):
        with pytest.raises(ConnectionRefusedError):
            smtplib.SMTP("127.0.0.1", port, timeout=5)
    with pytest.raises((imaplib.IMAP4.abort, OSError)):
        client.noop()
    primary.break_it()
    primary.send(AMELIA.address)
    wait_until(partial(primary.inbox, AMELIA.address), "the message")


def test_only_what_can_be_broken_is_broken() -> None:
    with pytest.raises(BadRequest, match="inbound, outbound, mailbox, identity, all, bounce or segment:NAME"):
        Faults().with_broken("everything")
    with pytest.raises(BadRequest, match="london, leeds, berlin"):
        Faults().with_broken("segment:paris")
    assert Faults().with_broken("segment:leeds").with_broken("inbound").describe().startswith("inbound (")
