"""After an attack a door costs what it did before: memory, descriptors, threads, places (DESIGN §3.12).

Every attack takes all the places there are; a place that was not given back would be missed at the next one. What one
more attack adds to the memory is a leak: the first two may make room that is used again. RFC 5321 §4.5.3.2.7.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from testkit.attacks import (
    HALF_A_HELLO,
    Attack,
    begin_text,
    begin_tls,
    come_and_go,
    drip_commands,
    say_nothing,
    talk_junk,
)
from testkit.certificates import Authority
from testkit.gateway import Gateway, message, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.process_facts import Cost, cost_of
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
PLACES = 200
TURNS = 10_000
ROUNDS = 160
"""In the long form; the first half may still make room."""
LEAK_BYTES = 1024
"""What a connection of the second half may leave behind on an average."""
LEAK_MIB = {"half a TLS handshake": 16}
"""What two more attacks may add where it is not the usual: a TLS connection has a buffer of 256 kB, and it takes the heap
some rounds to find its size."""
LEAK_MOST_MIB = 6
LATE_FILES = 24
"""A reading connection opens its log, and a pool a thread, when it is first used; a leak would be one of each place."""
LIMITS = f"""
connections = {PLACES}
read_timeout_s = 1.5
data_memory = 40_000_000
disk_reserve = 1_048_576
"""
ATTACKS: dict[str, Attack] = {
    "commands octet by octet": drip_commands,
    "silence": say_nothing,
    "junk": talk_junk,
    "half a TLS handshake": begin_tls,
    "text without an end": begin_text,
}


@pytest.fixture(scope="module")
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture(scope="module")
def gateway(primary: NextHop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    files = Authority(tmp_path_factory.mktemp("authority")).issue(["mx.example.com"])
    with running_gateway(primary=primary.port, started=False) as gateway:
        tls = f'[tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"'
        gateway.configure(primary=primary.port, outside=primary.port, limits=LIMITS, more=tls)
        gateway.start()
        yield gateway


@pytest.fixture
def doors(gateway: Gateway) -> Iterator[Gateway]:
    """Nothing went wrong inside, and mail is taken and relayed."""
    yield gateway
    assert "Traceback" not in gateway.log()
    assert gateway.send("ann@example.com", message()).startswith("250")
    wait_until(lambda: set(gateway.totals()) == {"relayed"}, "the message to be relayed", detail=gateway.log)


def spool_files(gateway: Gateway) -> list[Path]:
    return list((gateway.data / "bodies").rglob("m-*")) if (gateway.data / "bodies").exists() else []


def settled(gateway: Gateway, base: Cost) -> Cost:
    """The cost as soon as no connection is left of an attack."""

    def over() -> bool:
        now = cost_of(gateway.pid)
        return (
            now.sockets <= base.sockets
            and now.descriptors <= base.descriptors + LATE_FILES
            and now.threads <= base.threads + LATE_FILES
        )

    wait_until(over, "everything to be closed", 30, lambda: f"{base}\n{cost_of(gateway.pid)}\n{gateway.log()}")
    return cost_of(gateway.pid)


def attacked(gateway: Gateway, name: str, base: Cost) -> Cost:
    """What the gateway costs once an attack is over."""
    asyncio.run(ATTACKS[name](gateway.mx, PLACES))
    return settled(gateway, base)


@pytest.mark.parametrize("name", ATTACKS)
def test_after_an_attack_the_door_costs_what_it_did_before(doors: Gateway, name: str) -> None:
    doors.send("ann@example.com", message("warm"))
    wait_until(lambda: set(doors.totals()) == {"relayed"}, "a first message", detail=doors.log)
    at_rest = cost_of(doors.pid)
    _, first, *_, last = [attacked(doors, name, at_rest) for _ in range(4)]
    assert last.memory - first.memory < LEAK_MIB.get(name, LEAK_MOST_MIB), f"{first} {last}"
    assert not spool_files(doors)


def test_half_a_handshake_may_not_wait_longer_than_half_a_command(doors: Gateway) -> None:
    with SmtpTalk(doors.mx, timeout_s=10) as talk:
        talk.hello()
        assert talk.ask("STARTTLS").startswith("220")
        talk.send(HALF_A_HELLO)
        assert talk.ended


@pytest.mark.full
@pytest.mark.skipif(not FULL, reason="takes minutes: STORMSAIL_FULL=1")
@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "silence"])
def test_attacks_without_end_reach_a_memory_that_they_do_not_exceed(doors: Gateway, name: str) -> None:
    at_rest = cost_of(doors.pid)
    memory = [attacked(doors, name, at_rest).memory for _ in range(ROUNDS)]
    half = ROUNDS // 2
    assert (memory[-1] - memory[half - 1]) * 1_048_576 < LEAK_BYTES * PLACES * half, memory


def test_ten_thousand_connections_in_turns_leave_nothing_behind(doors: Gateway) -> None:
    at_rest = cost_of(doors.pid)
    asyncio.run(come_and_go(TURNS // 10)(doors.mx, PLACES))
    first = settled(doors, at_rest)
    asyncio.run(come_and_go(TURNS)(doors.mx, PLACES))
    last = settled(doors, at_rest)
    assert last.memory - first.memory < LEAK_MOST_MIB, f"{first} {last}"
