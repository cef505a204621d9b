"""Peers that talk and never read: they keep neither places nor memory (RFC 5321 §4.5.3.2.7)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.process_facts import cost_of
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

SILENCE_S = 1.0
COMMANDS = 3000
"""Their replies are more than the kernel holds for a narrow window, and less than a session may leave unread."""
LIMITS = f"""
connections_per_address = 1
commands = {COMMANDS}
read_timeout_s = {SILENCE_S}
disk_reserve = 1_048_576
"""
LATE_S = SILENCE_S + 4


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


@pytest.fixture(scope="module", autouse=True)
def listening(gateway: Gateway) -> int:
    """Sockets of the gateway before anybody has come."""
    return cost_of(gateway.pid).sockets


def greeted(gateway: Gateway) -> bool:
    with SmtpTalk(gateway.mx) as talk:
        return talk.reply().startswith("220")


def test_the_place_of_a_silent_peer_that_does_not_read_is_free_again(gateway: Gateway) -> None:
    with SmtpTalk(gateway.mx, narrow=True) as deaf:
        deaf.hello()
        deaf.send(b"HELP\r\n" * (COMMANDS - 10))
        assert not greeted(gateway)
        wait_until(lambda: greeted(gateway), "the only place", LATE_S)


def test_a_connection_whose_peer_does_not_take_the_goodbye_is_cut_off(gateway: Gateway, listening: int) -> None:
    with SmtpTalk(gateway.mx, source="127.0.0.2", narrow=True) as deaf:
        deaf.hello()
        deaf.send(b"HELP\r\n" * (COMMANDS + 10))
        wait_until(lambda: cost_of(gateway.pid).sockets == listening, "the connection to be gone", LATE_S)
        said = deaf.rest()
    assert said.startswith(b"214 "), said[:80]
    assert b"421 " not in said


def test_a_peer_that_reads_gets_every_reply_and_the_goodbye(gateway: Gateway) -> None:
    with SmtpTalk(gateway.mx, source="127.0.0.3") as talk:
        talk.hello()
        talk.send(b"HELP\r\n" * COMMANDS)
        said = talk.rest()
    assert said.count(b"214 ") == COMMANDS - 1
    assert b"421 4.7.0 Too many commands" in said
