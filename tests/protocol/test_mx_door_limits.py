"""What the MX door allows and for how long (RFC 5321 §4.5.3, RFC 1870), and how it says that it is stopping (§3.8)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ANN = "ann@example.com"
SILENCE_S = 1.5
LIMITS = f"""
connections = 6
connections_per_address = 3
recipients = 3
commands = 40
message_size = 100_000
read_timeout_s = {SILENCE_S}
data_memory = 200_000
line_length = 70_000
disk_reserve = 1_048_576
"""


@pytest.fixture(scope="module")
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture(scope="module")
def gateway(primary: NextHop) -> Iterator[Gateway]:
    with running_gateway(primary=primary.port, started=False) as gateway:
        gateway.configure(primary=primary.port, outside=primary.port, limits=LIMITS)
        usual = gateway.config.read_text().replace("connections_per_address = 500\n", "", 1)
        gateway.config.write_text(usual)
        gateway.start()
        yield gateway


@pytest.fixture
def talks(gateway: Gateway) -> Iterator[Talks]:
    with Talks(gateway) as talks:
        yield talks


class Talks(ExitStack):
    """Sessions of one test; they are over, and their places free, when the next test begins."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__()
        self.gateway = gateway

    def open(self, source: str = "127.0.0.1") -> SmtpTalk:
        return self.enter_context(SmtpTalk(self.gateway.mx, source=source))

    def greeted(self, source: str = "127.0.0.1") -> SmtpTalk:
        """A session that got a place, perhaps after others have left theirs."""

        def try_it() -> SmtpTalk | None:
            talk = self.open(source)
            return talk if talk.reply().startswith("220") else None

        talk = wait_until(try_it, "a free place")
        assert talk is not None
        assert talk.ask("EHLO client.test").startswith("250")
        return talk


def text(name: str, size: int = 0) -> bytes:
    head = f"Subject: {name}\r\n\r\n".encode()
    return head + b"x" * 60 + b"\r\n" + (b"y" * 62 + b"\r\n") * ((size - len(head)) // 64)


def taken(primary: NextHop, name: str) -> list[bytes]:
    return [one.content for one in primary.taken if f"Subject: {name}\r\n".encode() in one.content]


def test_an_address_has_so_many_places_and_others_still_find_one(talks: Talks) -> None:
    mine = [talks.greeted() for _ in range(3)]
    refused = talks.open()
    assert refused.reply().startswith("421 4.7.0")
    assert refused.ended
    talks.greeted("127.0.0.2")
    assert mine[0].ask("QUIT").startswith("221")
    talks.greeted()


def test_there_are_so_many_places_in_all_and_a_dropped_connection_frees_its_own(talks: Talks) -> None:
    held = [talks.greeted(f"127.0.0.{number // 2 + 2}") for number in range(6)]
    refused = talks.open("127.0.0.9")
    assert refused.reply().startswith("421 4.7.0")
    assert refused.ended
    held[0].reset()
    talks.greeted("127.0.0.9")


def test_recipients_beyond_the_limit_are_for_the_next_transaction(talks: Talks, primary: NextHop) -> None:
    talk = talks.greeted()
    talk.envelope(ANN, "bob@example.com", "carl@example.com")
    assert talk.ask("RCPT TO:<dora@example.com>").startswith("452 4.5.3")
    assert talk.ask("DATA").startswith("354")
    assert talk.ask(text("three") + b".").startswith("250")
    talk.data("dora@example.com")
    assert talk.ask(text("the fourth") + b".").startswith("250")
    wait_until(lambda: taken(primary, "three") and taken(primary, "the fourth"), "both")


def test_commands_without_end_end_the_session_but_messages_may_follow_each_other(talks: Talks) -> None:
    busy = talks.greeted()
    for number in range(12):
        busy.data(ANN)
        assert busy.ask(text(f"busy {number}") + b".").startswith("250")
    idle = talks.greeted()
    answers = [idle.ask("NOOP") for _ in range(39)]
    assert {one[:3] for one in answers} == {"250"}
    assert idle.ask("NOOP").startswith("421 4.7.0")
    assert idle.ended


def test_a_size_beyond_the_limit_is_refused_before_or_after_the_text(talks: Talks, primary: NextHop) -> None:
    talk = talks.greeted()
    limit = int(talk.ask("EHLO client.test").split("SIZE ")[1].split()[0])
    assert limit <= 100_000
    assert talk.ask(f"MAIL FROM:<x@example.org> SIZE={limit + 1}").startswith("552 5.3.4")
    assert talk.ask("MAIL FROM:<x@example.org> SIZE=10").startswith("250")
    assert talk.ask(f"RCPT TO:<{ANN}>").startswith("250")
    assert talk.ask("DATA").startswith("354")
    assert talk.ask(text("too large", limit + 100) + b".").startswith("552 5.3.4")
    talk.data(ANN)
    assert talk.ask(text("just small enough", limit - 100) + b".").startswith("250")
    wait_until(lambda: taken(primary, "just small enough"), "the smaller one")
    assert not taken(primary, "too large")


def test_a_line_beyond_the_limit_is_refused_after_the_text(talks: Talks) -> None:
    talk = talks.greeted()
    talk.data(ANN)
    assert talk.ask(b"Subject: x\r\n\r\n" + b"x" * 60_000 + b"\r\n.").startswith("250")
    talk.data(ANN)
    talk.send(b"Subject: x\r\n\r\n")
    for _ in range(30):
        talk.send(b"x" * 60_000)
    assert talk.ask(b"\r\n.")[:3] in ("552", "554")
    assert talk.ask("NOOP").startswith("250")


@pytest.mark.parametrize("stage", ["before EHLO", "after EHLO", "in the envelope", "in the text"])
def test_who_is_silent_for_too_long_is_sent_away(talks: Talks, gateway: Gateway, primary: NextHop, stage: str) -> None:
    talk = talks.open()
    talk.reply()
    if stage != "before EHLO":
        talk.ask("EHLO client.test")
    if stage == "in the envelope":
        talk.envelope(ANN)
    if stage == "in the text":
        talk.data(ANN)
        talk.send(text("left halfway"))
    assert talk.quiet_for(SILENCE_S - 0.5)
    assert talk.reply().startswith("421 4.4.2")
    assert talk.ended
    assert not taken(primary, "left halfway")
    assert gateway.status()["own_health"]


def test_an_honest_slow_sender_has_all_the_time_it_needs(talks: Talks, primary: NextHop) -> None:
    talk = talks.greeted()
    assert talk.drip([octet.to_bytes(1, "big") for octet in b"NOOP "], 0.4) > SILENCE_S
    assert talk.ask("").startswith("250")
    talk.data(ANN)
    whole = text("slow but honest", 3000) + b".\r\n"
    pieces = [whole[start : start + 300] for start in range(0, len(whole), 300)]
    assert talk.drip(pieces, 0.4) > 2 * SILENCE_S
    assert talk.reply().startswith("250")
    wait_until(lambda: taken(primary, "slow but honest"), "the message")


def test_where_memory_is_short_the_last_to_come_is_asked_to_come_again(talks: Talks, primary: NextHop) -> None:
    first, second, third = (talks.greeted() for _ in range(3))
    for talk, name in ((first, "first"), (second, "second")):
        talk.data(ANN)
        talk.send(text(name, 90_000))
    tries = itertools.count()

    def try_it() -> str:
        third.data(ANN)
        return third.ask(text(f"third {next(tries)}", 90_000) + b".")

    wait_until(lambda: try_it().startswith("452 4.3.1"), "the others' text to be in memory")
    for talk in (first, second):
        assert talk.ask(b".").startswith("250")
    assert try_it().startswith("250")
    wait_until(lambda: all(len(taken(primary, name)) == 1 for name in ("first", "second")), "the first two")
    last = next(tries) - 1
    wait_until(lambda: taken(primary, f"third {last}"), "the third")


def test_memory_of_those_who_left_halfway_is_free_again(talks: Talks, primary: NextHop) -> None:
    for number in range(8):
        talk = talks.greeted()
        talk.data(ANN)
        talk.send(text("gone", 90_000))
        talk.reset() if number % 2 else talk.close()

    def goes() -> bool:
        talk = talks.greeted()
        talk.data(ANN)
        return talk.ask(text("after the others", 90_000) + b".").startswith("250")

    wait_until(goes, "room")
    wait_until(lambda: taken(primary, "after the others"), "the message")
    assert not taken(primary, "gone")


def test_a_gateway_that_stops_says_so_and_lets_messages_end(primary: NextHop) -> None:
    with running_gateway(primary=primary.port) as gateway, ExitStack() as stack, ThreadPoolExecutor() as pool:
        idle, between, sending = (stack.enter_context(SmtpTalk(gateway.mx)).hello() for _ in range(3))
        between.envelope(ANN)
        sending.data(ANN)
        sending.send(text("on its way"))
        stopping = pool.submit(gateway.stop)
        assert idle.reply().startswith("421 4.3.2")
        assert idle.ended
        assert sending.ask(b".").startswith("250")
        assert sending.reply().startswith("421 4.3.2")
        assert sending.ended
        assert between.ask("RSET")[:3] in ("250", "421")
        assert stopping.result(30) == 0
        wait_until(lambda: taken(primary, "on its way"), "the message")
        gateway.start()
        gateway.assert_sound()
