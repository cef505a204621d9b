"""The real servers of the testkit do what the tests that lean on them expect."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from functools import partial
from pathlib import Path

import pytest

from stormsail.domain.replies import Stage
from testkit.certificates import Authority, client_context, server_context
from testkit.dovecot import running_dovecot
from testkit.postfix import holding, primary_for, running_postfix, sender_to
from testkit.scripted_smtp import Act, Behaviour, ScriptedSmtp
from testkit.sink import pour, running_sink
from testkit.swaks import swaks
from testkit.waiting import eventually, wait_until

USERS = ["ann@example.com", "bo@example.com"]
MAIL = (
    b"From: x@example.org\r\nSubject: hello\r\nMessage-ID: <1@example.org>\r\n"
    b"Date: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\n"
)
BODY = b"caf\xe9\r\n.\r\n..dots\r\n"


def test_mail_goes_through_two_postfixes_into_dovecot_unchanged() -> None:
    with (
        running_dovecot(USERS) as dovecot,
        running_postfix(primary_for(["example.com"], USERS, lmtp=dovecot.lmtp_port)) as primary,
        running_postfix(sender_to(primary.port)) as sender,
    ):
        with smtplib.SMTP("127.0.0.1", sender.port) as client:
            client.sendmail("x@example.org", USERS, MAIL + BODY)
        for user in USERS:
            wait_until(partial(dovecot.count, user), "the message", detail=primary.log)
            (message,) = dovecot.messages(user)
            assert message.endswith(MAIL + BODY)
        refused = swaks(primary.port, "nobody@example.com", reverse_path="x@example.org", data=MAIL)
        assert refused.last_code == 550


def test_a_postfix_by_itself_keeps_mail_in_maildirs() -> None:
    with running_postfix(primary_for(["example.com"], USERS)) as primary:
        assert swaks(primary.port, USERS[0], reverse_path="x@example.org", data=MAIL).last_code == 250
        wait_until(lambda: primary.messages(USERS[0]), "the message", detail=primary.log)
        assert primary.queue() == []


def test_the_yardstick_holds_what_it_takes() -> None:
    with running_postfix(holding()) as yardstick:
        pour(yardstick.port, messages=20, sessions=4, size=4096, recipient=USERS[0])
        assert yardstick.queued_files("hold") == 20


def test_the_sink_takes_everything() -> None:
    with running_sink() as port:
        assert pour(port, messages=50, sessions=5, size=1000, recipient=USERS[0]) > 0


def send(port: int, recipients: list[str]) -> dict[str, tuple[int, bytes]]:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        return client.sendmail("x@example.org", recipients, MAIL + BODY)


def test_a_scripted_next_hop_takes_bytes_as_they_are_and_refuses_whom_it_should() -> None:
    async def story() -> None:
        behaviour = Behaviour(recipients={"bo@example.com": ["450 4.2.1 later", "250 ok"]})
        async with ScriptedSmtp(behaviour) as server:
            refused = await asyncio.to_thread(send, server.port, USERS)
            assert refused == {"bo@example.com": (450, b"4.2.1 later")}
            assert await asyncio.to_thread(send, server.port, USERS) == {}
            assert [taken.recipients for taken in server.messages] == [["ann@example.com"], USERS]
            assert {taken.content for taken in server.messages} == {MAIL + BODY}

    asyncio.run(story())


@pytest.mark.parametrize("act", [Act.CLOSE, Act.RESET])
def test_a_scripted_next_hop_can_take_a_message_and_lose_the_reply(act: Act) -> None:
    async def story() -> None:
        async with ScriptedSmtp(Behaviour(on={Stage.DOT: act})) as server:
            with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionResetError)):
                await asyncio.to_thread(send, server.port, USERS)
            assert [taken.reply for taken in server.messages] == [None]

    asyncio.run(story())


def test_a_scripted_next_hop_can_pause_in_the_middle_and_be_away() -> None:
    async def story() -> None:
        async with ScriptedSmtp() as server:
            server.pause_at(Stage.DOT)
            sending = asyncio.create_task(asyncio.to_thread(send, server.port, USERS))
            await eventually(lambda: server.arrivals.get(Stage.DOT), "the final dot")
            assert not sending.done()
            server.resume(Stage.DOT)
            await sending
            await server.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.to_thread(send, server.port, USERS)
            await server.listen()
            assert await asyncio.to_thread(send, server.port, USERS) == {}

    asyncio.run(story())


def start_tls(port: int, authority: Path) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
        client.starttls(context=client_context(authority))
        client.sendmail("x@example.org", USERS, MAIL)


def test_certificates_are_good_expired_or_of_another_name(tmp_path: Path) -> None:
    async def story() -> None:
        authority = Authority(tmp_path)
        good = authority.issue(["mx.example.com", "127.0.0.1"])
        bad = [authority.issue(["127.0.0.1"], expired=True), authority.issue(["mx.example.org"])]
        async with ScriptedSmtp(Behaviour(tls=server_context(good))) as server:
            await asyncio.to_thread(start_tls, server.port, authority.certificate)
            assert server.messages[0].tls
            for files in bad:
                server.behaviour.tls = server_context(files)
                with pytest.raises(ssl.SSLCertVerificationError):
                    await asyncio.to_thread(start_tls, server.port, authority.certificate)

    asyncio.run(story())
