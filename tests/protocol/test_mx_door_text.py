"""What the MX door makes of a message's text: where it ends, which octets it keeps (RFC 5321 §2.3.8, §4.1.1.4, §4.5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Behaviour, Taken
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ANN, BOB = "ann@example.com", "bob@example.com"
HEAD = b"From: x@example.org\r\nSubject: text\r\n\r\n"
SECOND = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nSubject: smuggled\r\n\r\nhello"


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
    """A session that ends politely, so that an equal message of the next test is no repeat."""
    with SmtpTalk(gateway.mx) as open_talk:
        yield open_talk.hello()
        assert open_talk.ask("QUIT").startswith("221")


class Mailbag:
    """What the primary takes in one test."""

    def __init__(self, gateway: Gateway, primary: NextHop) -> None:
        self._gateway = gateway
        self._primary = primary
        self._before = len(primary.taken)

    def all(self, count: int) -> list[Taken]:
        """Everything taken since the beginning of the test, once so many are there and nothing is on its way."""

        def there() -> bool:
            return len(self._primary.taken) >= self._before + count and set(self._gateway.totals()) == {"relayed"}

        wait_until(there, f"{count} messages", detail=self._gateway.log)
        return self._primary.taken[self._before :]

    def only(self) -> Taken:
        [taken] = self.all(1)
        return taken

    def content(self) -> bytes:
        """The only message, without the fields that we put on top."""
        return without_ours(self.only().content)


@pytest.fixture
def bag(gateway: Gateway, primary: NextHop) -> Mailbag:
    return Mailbag(gateway, primary)


def without_ours(content: bytes) -> bytes:
    lines = content.split(b"\r\n")
    assert lines[0].startswith(b"Received: from ")
    trace = next(number for number, line in enumerate(lines) if line.startswith(b"Stormsail-Trace: v1; "))
    return b"\r\n".join(lines[trace + 1 :])


@pytest.mark.parametrize(
    ("fake", "text"),
    [
        (b"\n.\n", b"\r\n.\r\n"),
        (b"\r\n.\n", b"\r\n\r\n"),
        (b"\n.\r\n", b"\r\n.\r\n"),
        (b"\n.\n.\n", b"\r\n.\r\n.\r\n"),
        (b"\r\n..\n.\r\n", b"\r\n.\r\n.\r\n"),
    ],
)
def test_a_dot_between_other_line_ends_ends_nothing_and_is_passed_on_as_text(
    talk: SmtpTalk, bag: Mailbag, fake: bytes, text: bytes
) -> None:
    talk.data(ANN)
    talk.send(HEAD + b"one" + fake + SECOND)
    assert talk.quiet_for(0.3)
    assert talk.ask(b"\r\n.").startswith("250")
    assert talk.ask("NOOP").startswith("250")
    assert bag.only().recipients == [ANN]
    assert bag.content() == HEAD + b"one" + text + SECOND + b"\r\n"


@pytest.mark.parametrize(
    "fake",
    [b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\n\r.\r\n\r", b"\n.\r", b"\r\n\0.\r\n", b"\r\n.\0\r\n"],
)
def test_a_dot_with_a_bare_cr_or_a_nul_ends_nothing_and_refuses_the_message(
    talk: SmtpTalk, bag: Mailbag, fake: bytes
) -> None:
    talk.data(ANN)
    talk.send(HEAD + b"one" + fake + SECOND)
    assert talk.quiet_for(0.3)
    assert talk.ask(b"\r\n.").startswith("554 5.6.0")
    talk.data(ANN)
    good = HEAD + b"good after " + repr(fake).encode() + b"\r\n"
    assert talk.ask(good + b".").startswith("250")
    assert bag.content() == good


def test_the_end_is_found_wherever_the_segments_are_cut(gateway: Gateway, bag: Mailbag) -> None:
    end = b"one\r\n..two\r\n.\r\nNOOP\r\n"
    for cut in range(1, len(end)):
        with SmtpTalk(gateway.mx) as talk:
            talk.hello().data(ANN)
            talk.send(HEAD + f"cut {cut}\r\n".encode() + end[:cut])
            assert cut >= len(end) - 8 or talk.quiet_for(0.01)
            talk.send(end[cut:])
            assert talk.reply().startswith("250 2.0.0 Ok: queued")
            assert talk.reply() == "250 2.0.0 Ok"
    found = {without_ours(one.content) for one in bag.all(len(end) - 1)}
    assert found == {HEAD + f"cut {cut}\r\none\r\n.two\r\n".encode() for cut in range(1, len(end))}


@pytest.mark.parametrize("bad", [b"one\rtwo", b"one\r\r\n", b"\r", b"one\0two", b"\0"])
def test_a_bare_cr_or_a_nul_in_the_text_is_refused_for_good_and_the_session_goes_on(
    talk: SmtpTalk, bag: Mailbag, bad: bytes
) -> None:
    talk.data(ANN)
    assert talk.ask(HEAD + bad + b"\r\n.").startswith("554 5.6.0")
    talk.data(ANN)
    good = HEAD + b"good after " + repr(bad).encode() + b"\r\n"
    assert talk.ask(good + b".").startswith("250")
    assert bag.content() == good


def test_a_bare_lf_is_made_crlf_and_the_message_marked(talk: SmtpTalk, gateway: Gateway, bag: Mailbag) -> None:
    talk.data(ANN)
    answer = talk.ask(b"Subject: lf\nFrom: x@example.org\n\none\ntwo\r\n.three\n\r\n.")
    number = answer.split()[-1]
    assert bag.content() == b"Subject: lf\r\nFrom: x@example.org\r\n\r\none\r\ntwo\r\nthree\r\n\r\n"
    [traced] = gateway.cli_json("trace", number)["messages"]
    assert "bare_lf" in traced["notes"]


@pytest.mark.parametrize(
    "keywords", [("PIPELINING", "8BITMIME"), ("PIPELINING",), ()], ids=lambda words: " ".join(words)
)
def test_every_octet_goes_on_as_it_came(
    talk: SmtpTalk, primary: NextHop, bag: Mailbag, keywords: tuple[str, ...]
) -> None:
    octets = bytes(octet for octet in range(256) if octet not in (0, 10, 13))
    text = HEAD + octets + b"\r\n" + b" \t \r\n\x7f\x1b[2J\r\n" + b"\xc3\xa4\xe4\xff\xfe\r\n\r\n  "
    primary.behave(Behaviour(keywords=keywords))
    primary.server.drop_connections()
    talk.envelope(ANN)
    assert talk.ask("DATA").startswith("354")
    assert talk.ask(text + b"\r\n.").startswith("250")
    assert bag.content() == text + b"\r\n"
    assert ("BODY=8BITMIME" in bag.only().mail_options) is ("8BITMIME" in keywords)
    primary.behave()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\r\n",
        b"just words\r\n",
        b"\r\njust a body\r\n",
        b"Subject: only a header\r\n",
        b"Subject: only a header\r\n\r\n",
        b": no name\r\n  \r\n\tfolded: nothing\r\n\r\nbody\r\n",
        b"Received from nobody\r\nSubject : blank before the colon\r\n\r\nbody\r\n",
        b".\r\n..\r\n...\r\n",
        b"\r\n\r\n\r\n\r\n",
    ],
    ids=range(10),
)
def test_a_message_without_header_or_body_is_passed_on_as_it_is(talk: SmtpTalk, bag: Mailbag, text: bytes) -> None:
    talk.data(ANN)
    dotted = b"".join(b"." + line if line.startswith(b".") else line for line in text.splitlines(keepends=True))
    assert talk.ask(dotted + b".").startswith("250")
    assert bag.content() == text


def test_a_line_beyond_998_octets_is_taken_as_real_mail_has_them(talk: SmtpTalk, bag: Mailbag) -> None:
    text = HEAD + b"x" * 1_000_000 + b"\r\n" + b"y" * 998 + b"\r\n"
    talk.data(ANN)
    assert talk.ask(text + b".").startswith("250")
    assert bag.content() == text


def test_the_null_reverse_path_is_taken_and_passed_on(talk: SmtpTalk, bag: Mailbag) -> None:
    talk.data(ANN, reverse_path="")
    assert talk.ask(HEAD + b"notice\r\n.").startswith("250")
    assert bag.only().reverse_path == ""


@pytest.mark.parametrize("path", ["Postmaster", "POSTMASTER", "postmaster@example.com", "Postmaster@Example.COM"])
def test_the_postmaster_can_always_be_written_to(talk: SmtpTalk, bag: Mailbag, path: str) -> None:
    talk.data(path)
    assert talk.ask(HEAD + path.encode() + b"\r\n.").startswith("250")
    assert [one.lower() for one in bag.only().recipients] == ["postmaster@example.com"]


@pytest.mark.parametrize(
    "path", ['"ann"@example.com', '"a\\nn"@example.com', "@relay.example:ann@example.com", "Ann@EXAMPLE.com"]
)
def test_other_spellings_of_an_address_reach_the_same_mailbox(
    talk: SmtpTalk, gateway: Gateway, bag: Mailbag, path: str
) -> None:
    talk.data(path)
    number = talk.ask(HEAD + path.encode() + b"\r\n.").split()[-1]
    assert [one.lower() for one in bag.only().recipients] == [ANN]
    [traced] = gateway.cli_json("trace", number)["messages"]
    assert traced["deliveries"][0]["mailbox"] == ANN


@pytest.mark.parametrize(
    "path",
    ['"john doe"@example.org', '"a@b"@example.org', '"\\""@example.org', '"<>"@example.org', "a/b=c@[192.0.2.1]"],
)
def test_a_quoted_reverse_path_is_passed_on_as_it_is(talk: SmtpTalk, bag: Mailbag, path: str) -> None:
    talk.data(ANN, reverse_path=path)
    assert talk.ask(HEAD + path.encode() + b"\r\n.").startswith("250")
    assert bag.only().reverse_path == path


def test_a_recipient_named_twice_gets_the_message_once(talk: SmtpTalk, gateway: Gateway, bag: Mailbag) -> None:
    talk.data(ANN, BOB, ANN, "ANN@example.com", '"ann"@example.com', "ann+tag@example.com")
    number = talk.ask(HEAD + b"once\r\n.").split()[-1]
    assert bag.only().recipients == [ANN, BOB, "ann+tag@example.com"]
    with gateway.as_person(gateway.add_account(ANN)) as ann:

        def copies() -> list[str]:
            listed = ann.get(f"/mailboxes/{ANN}/messages", params={"limit": 1000}).json()["messages"]
            return [one["id"] for one in listed if one["trace_id"] == number]

        wait_until(copies, "the copy")
        assert len(copies()) == 1


def test_many_messages_in_one_session_stay_apart(talk: SmtpTalk, bag: Mailbag) -> None:
    texts = [HEAD + f"{number}\r\n".encode() * (number * 997 % 4000) for number in range(40)]
    for text, to in zip(texts, itertools.cycle([ANN, BOB]), strict=False):
        talk.data(to)
        assert talk.ask(text + b".").startswith("250")
    taken = sorted(bag.all(40), key=lambda one: texts.index(without_ours(one.content)))
    assert [without_ours(one.content) for one in taken] == texts
    assert [one.recipients for one in taken] == [[ANN], [BOB]] * 20


def test_a_sender_that_vanishes_behind_the_dot_of_a_large_message_leaves_nothing_lying_about(
    gateway: Gateway, primary: NextHop
) -> None:
    """Its message is either kept whole or not at all; here nobody sends it again."""
    before = len(primary.taken)
    for number in range(20):
        talk = SmtpTalk(gateway.mx).hello()
        talk.data(ANN)
        talk.send(HEAD + f"{number}\r\n".encode() + (b"x" * 70 + b"\r\n") * 5000 + b".\r\n")
        talk.reset() if number % 2 else talk.close()
    wait_until(lambda: set(gateway.totals()) == {"relayed"}, "all to be relayed")
    gateway.assert_sound()
    taken = [without_ours(one.content) for one in primary.taken[before:]]
    assert all(one.endswith(b"\r\n" + b"x" * 70 + b"\r\n") and len(one) > 5000 * 72 for one in taken)
    assert len(taken) == len(set(taken))
