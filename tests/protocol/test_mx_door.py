"""The dialogue at the MX door, octet by octet, against a real process (RFC 5321 §4, RFC 2920, RFC 1870, RFC 6152)."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Taken
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ANN, BOB = "ann@example.com", "bob@example.com"
STRANGER = "127.0.0.77"
"""An address that has never handed in mail: it has to wait for the banner."""


@pytest.fixture(scope="module")
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture(scope="module")
def gateway(primary: NextHop) -> Iterator[Gateway]:
    with running_gateway(primary=primary.port) as running:
        yield running


@pytest.fixture
def talk(gateway: Gateway) -> Iterator[SmtpTalk]:
    with SmtpTalk(gateway.mx) as open_talk:
        yield open_talk


def letter(subject: str) -> bytes:
    return f"From: x@example.org\r\nSubject: {subject}\r\n\r\nHow are you?\r\n".encode()


def with_subject(primary: NextHop, subject: str) -> list[Taken]:
    """What the primary took with that subject."""
    field = f"\r\nSubject: {subject}\r\n".encode()
    return [one for one in primary.taken if field in one.content]


def arrived(primary: NextHop, subject: str) -> Taken:
    """The one message with that subject, as soon as the primary has it."""
    wait_until(lambda: with_subject(primary, subject), f"the message {subject!r}")
    [taken] = with_subject(primary, subject)
    return taken


def test_ehlo_offers_exactly_what_is_complete(talk: SmtpTalk) -> None:
    assert talk.reply() == "220 mx.example.com ESMTP Stormsail"
    lines = talk.ask("EHLO client.test").split("\n")
    assert lines[0] == "250-mx.example.com greets you"
    assert [re.sub(r"\d{7,}", "N", line[4:]) for line in lines[1:]] == [
        "PIPELINING", "SIZE N", "8BITMIME", "ENHANCEDSTATUSCODES"
    ]  # fmt: skip
    assert {line[:4] for line in lines[:-1]} == {"250-"}
    assert lines[-1][:4] == "250 "


def test_an_old_client_says_helo_and_hands_in_mail(talk: SmtpTalk, primary: NextHop) -> None:
    talk.reply()
    assert talk.ask("HELO old.test") == "250 mx.example.com"
    talk.data(ANN)
    assert talk.ask(letter("from an old client") + b".").startswith("250 2.0.0 Ok: queued as ")
    words = rb"Received: from old\.test \(\[127\.0\.0\.1\]\)\r\n\tby mx\.example\.com with SMTP id "
    assert re.match(words, arrived(primary, "from an old client").content)


@pytest.mark.parametrize("command", ["EHLO", "HELO", "EHLO  "])
def test_who_does_not_say_its_name_is_told_how(talk: SmtpTalk, command: str) -> None:
    talk.reply()
    assert talk.ask(command).startswith("501 5.5.4")


def test_commands_out_of_order_are_refused_and_change_nothing(talk: SmtpTalk) -> None:
    talk.reply()
    for command in ("MAIL FROM:<x@example.org>", f"RCPT TO:<{ANN}>", "DATA"):
        assert talk.ask(command).startswith("503 5.5.1"), command
    talk.ask("EHLO client.test")
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("503 5.5.1")
    assert talk.ask("DATA").startswith("503 5.5.1")
    assert talk.ask("MAIL FROM:<x@example.org>").startswith("250")
    assert talk.ask("DATA").startswith("503 5.5.1")
    assert talk.ask("MAIL FROM:<y@example.org>").startswith("503 5.5.1")
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("250")
    assert talk.ask("DATA now").startswith("501")
    assert talk.ask("STARTTLS")[0] == "5"
    assert talk.ask("DATA").startswith("354")


@pytest.mark.parametrize("command", ["RSET", "EHLO again.test", "HELO again.test"])
def test_a_transaction_is_forgotten_at_rset_and_at_a_new_greeting(talk: SmtpTalk, command: str) -> None:
    talk.hello().envelope(ANN)
    assert talk.ask(command).startswith("250")
    assert talk.ask("DATA").startswith("503")
    assert talk.ask("MAIL FROM:<y@example.org>").startswith("250")


def test_the_small_commands_answer_and_give_nothing_away(talk: SmtpTalk) -> None:
    talk.hello()
    answers = {
        word: talk.ask(word) for word in ("NOOP", "noop x", f"VRFY {ANN}", "EXPN all", "HELP", "RSET", "AUTH PLAIN")
    }
    assert [one[:3] for one in answers.values()] == ["250", "250", "252", "502", "214", "250", "500"]
    assert not any(ANN in one for one in answers.values())
    assert talk.ask("QUIT").startswith("221")
    assert talk.ended


@pytest.mark.parametrize(
    "command",
    [
        b"NOOP\n",
        b"MAIL FROM:<x@example.org>\n",
        b"NOOP\x00\r\n",
        b"MAIL FROM:<x\x00@example.org>\r\n",
        b"NOOP \x1b[2J\r\n",
        b"MAIL FROM:<x@example.org>\x07\r\n",
        b"MAIL FROM:<x@example.org>\rRCPT TO:<ann@example.com>\r\n",
        b"NOOP\r\r\n",
        b"\r\n",
        b" NOOP\r\n",
        b"\xffNOOP\r\n",
        b"NOOP \xe2\x80\xae\r\n",
        b"MAIL\tFROM:<x@example.org>\r\n",
        b"MAILXFROM:<x@example.org>\r\n",
        b"MAIL:FROM:<x@example.org>\r\n",
    ],
)
def test_a_line_that_cannot_be_a_command_is_refused_and_not_shown_back(talk: SmtpTalk, command: bytes) -> None:
    talk.hello()
    talk.send(command)
    answer = talk.reply()
    assert answer.startswith("500 5.5")
    assert answer.isascii()
    assert answer.isprintable()
    assert talk.ask("DATA").startswith("503"), "it was executed all the same"
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("503"), "it was executed all the same"


@pytest.mark.parametrize("command", ["MAIL FROM:<ä@example.org>", "RCPT TO:<ä@example.com>"])
def test_addresses_beyond_ascii_are_refused_by_the_code_for_them(talk: SmtpTalk, command: str) -> None:
    assert talk.hello().ask(command).startswith("553 5.6.7")


@pytest.mark.parametrize(
    "argument",
    [
        "FROM:<x@example.org",
        "FROM:x@example.org>",
        "FROM:x@example.org",
        "FROM:<x@example.org>>",
        "FROM:<<x@example.org>>",
        "FROM:<x @example.org>",
        "FROM:<x@example.org>SIZE=1",
        'FROM:<"x@example.org>',
        "FROM:",
        "FROM",
        "",
        "TO:<x@example.org>",
        "FROM:<@>",
        "FROM:<x>",
        "FROM:<x@>",
        "FROM:<@example.org>",
        "FROM:<x@exa mple.org>",
        "FROM:<x..y@example.org>",
        "FROM:<.x@example.org>",
        "FROM:<x@-example.org>",
        "FROM:<x@[not.an.address]>",
        "FROM:<x@example.org> SIZE=",
        "FROM:<x@example.org> SIZE=-1",
        "FROM:<x@example.org> SIZE=999999999999999999999999",
        "FROM:<x@example.org> BODY=BINARYMIME",
        "FROM:<x@example.org> SMTPUTF8",
        "FROM:<x@example.org> UNKNOWN=1",
        "FROM:<" + "x" * 70 + "@example.org>",
        "FROM:<x@" + "example." * 40 + "org>",
        "FROM:<" + "x" * 2000 + ">",
    ],
)
def test_a_reverse_path_without_form_is_refused_for_good(talk: SmtpTalk, argument: str) -> None:
    answer = talk.hello().ask(f"MAIL {argument}")
    assert answer[0] == "5", answer
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("503")
    assert talk.ask("NOOP").startswith("250")


@pytest.mark.parametrize(
    "argument",
    [
        "TO:<ann@example.com", "TO:ann@example.com", "TO:<ann@example.com>>", "TO:<<ann@example.com>>", "TO:<>",
        "TO:<ann@example.com> <bob@example.com>", "TO:<ann@example.com>,<bob@example.com>", "TO:<ann>", "TO:",
        "FROM:<ann@example.com>", "TO:<ann@example.com> NOTIFY=NEVER", "TO:<@example.com>", "TO:<ann@@example.com>",
        "TO:<@evil.example,@:ann@example.com>", 'TO:<"ann>@example.com>',
    ],
)  # fmt: skip
def test_a_recipient_without_form_is_refused_for_good_and_the_next_one_taken(talk: SmtpTalk, argument: str) -> None:
    talk.hello().envelope()
    answer = talk.ask(f"RCPT {argument}")
    assert answer[0] == "5", answer
    assert talk.ask("DATA").startswith("503")
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("250")


@pytest.mark.parametrize(
    "case", ["mail from:<x@example.org>", "MaIl FrOm:<x@example.org>", "MAIL FROM: <x@example.org>"]
)
def test_what_real_senders_write_is_taken(talk: SmtpTalk, case: str) -> None:
    assert talk.hello().ask(case).startswith("250")
    assert talk.ask("rcpt to: <ANN@EXAMPLE.COM>").startswith("250")


def test_a_flood_of_junk_ends_the_connection(talk: SmtpTalk) -> None:
    talk.hello()
    answers = [talk.ask(f"GET /{number} HTTP/1.1") for number in range(21)]
    assert {one[:9] for one in answers[:20]} == {"500 5.5.1"}
    assert answers[20].startswith("421 4.7.0")
    assert talk.ended


def test_a_command_that_is_too_long_is_refused_and_an_endless_one_ends_the_connection(talk: SmtpTalk) -> None:
    talk.hello()
    assert talk.ask("NOOP " + "x" * 4000).startswith("250")
    assert talk.ask("NOOP " + "x" * 5000).startswith("500 5.5.2")
    assert talk.ask("NOOP " + "x" * 60_000).startswith("500 5.5.2")
    assert talk.ask("NOOP").startswith("250")
    talk.send(b"x" * 200_000)
    assert talk.reply().startswith("500 5.5.2")


def test_who_talks_before_the_banner_is_sent_away(gateway: Gateway) -> None:
    with SmtpTalk(gateway.mx, source=STRANGER) as talk:
        talk.send(b"EHLO client.test\r\n")
        assert talk.reply().startswith("554 5.5.0")
        assert talk.ended


def test_text_sent_before_354_is_never_taken_for_a_message(talk: SmtpTalk, gateway: Gateway, primary: NextHop) -> None:
    talk.hello().envelope(ANN)
    talk.send(b"DATA\r\n" + letter("too early") + b".\r\n")
    assert talk.reply().startswith("554 5.5.0")
    settled(gateway)
    assert not with_subject(primary, "too early")


def test_a_group_of_commands_is_answered_in_order(talk: SmtpTalk, primary: NextHop) -> None:
    talk.reply()
    talk.send(
        b"EHLO client.test\r\nMAIL FROM:<x@example.org> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<nobody@elsewhere.example>\r\n"
        b"RCPT TO:<ann@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n"
    )
    assert [talk.reply()[:3] for _ in range(6)] == ["250", "250", "550", "250", "250", "354"]
    assert talk.ask(letter("in a group") + b".").startswith("250")
    assert arrived(primary, "in a group").recipients == [ANN, BOB]


def test_what_is_sent_behind_the_dot_is_the_next_transaction(
    talk: SmtpTalk, gateway: Gateway, primary: NextHop
) -> None:
    envelope = b"MAIL FROM:<x@example.org>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n"
    talk.hello()
    talk.send(envelope)
    for number in range(3):
        assert [talk.reply()[:3] for _ in range(3)] == ["250", "250", "354"]
        behind = envelope if number < 2 else b"NOOP\r\nQUIT\r\n"
        talk.send(letter(f"behind {number}") + b".\r\n" + behind)
        assert talk.reply().startswith("250 2.0.0 Ok: queued as ")
    assert [talk.reply()[:3] for _ in range(2)] == ["250", "221"]
    assert talk.ended
    settled(gateway)
    assert [len(with_subject(primary, f"behind {number}")) for number in range(3)] == [1, 1, 1]


def test_a_peer_that_has_said_everything_and_shut_its_side_is_answered(talk: SmtpTalk, primary: NextHop) -> None:
    talk.hello().data(ANN)
    talk.send(letter("last words") + b".\r\nQUIT\r\n")
    talk.no_more()
    assert talk.rest().startswith(b"250 2.0.0 Ok: queued as ")
    arrived(primary, "last words")


def settled(gateway: Gateway) -> None:
    """Everything accepted has been relayed."""
    wait_until(lambda: set(gateway.totals()) <= {"relayed"}, "all to be relayed", detail=gateway.log)
