"""Memory, descriptors and disk are back to their base after storms of faults, broken-off senders and kills (DESIGN §3.16)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from testkit.checker import Checker, Points
from testkit.correspondent import Correspondent
from testkit.footprint import assert_back_to, footprint
from testkit.gateway import Gateway, message, running_gateway
from testkit.lives import PEOPLE
from testkit.next_hop import NextHop, next_hop
from testkit.signs import healthy
from testkit.smtp_talk import SmtpTalk
from testkit.strace import attached, fail_at, need_strace
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
STORMS = 12 if FULL else 1
LETTERS = 100 if FULL else 20
FAULTS = [("fdatasync,fsync", "EIO", "2+9"), ("pwrite64", "ENOSPC", "5+60"), ("ftruncate,rename", "EIO", "1+2")]
HALF = message("half") + b"A line of a large message.\r\n" * 12_000
Tried = Callable[[str], None]


@contextmanager
def place() -> Iterator[tuple[Gateway, NextHop]]:
    need_strace()
    with next_hop() as hop, running_gateway(primary=hop.port) as gateway:
        yield gateway, hop


def break_off(gateway: Gateway) -> None:
    """Senders that are gone in the middle of a large message, and one that is gone before it has begun."""
    for data in (HALF, HALF[:300_000], b""):
        with suppress(AssertionError, EOFError, OSError), SmtpTalk(gateway.mx) as talk:
            talk.hello().data(PEOPLE[0])
            talk.send(data)
            talk.reset()


def quiet(gateway: Gateway, witness: Correspondent, hop: NextHop) -> None:
    """Nothing is on its way any more, and no connection to the next hop is left over."""
    wait_until(lambda: not witness.busy(), "every letter to be answered 250", 60, gateway.log)
    wait_until(lambda: healthy(gateway), "the store to be well", 20, gateway.log)
    wait_until(lambda: set(gateway.totals()) <= {"relayed", "absorbed"}, "all to be relayed", 30, gateway.log)
    hop.refuse()
    hop.listen()


def test_storms_of_faults_leave_no_memory_no_descriptor_and_no_file_behind(tmp_path: Path, tried: Tried) -> None:
    with place() as (gateway, hop):
        witness = Correspondent(gateway.mx, PEOPLE)
        points = Points("storms")
        checker = Checker(gateway, witness, hop, points)
        witness.start()
        witness.write(4 * LETTERS)
        quiet(gateway, witness, hop)
        base = footprint(gateway)
        for _ in range(STORMS):
            for calls, error, when in FAULTS:
                with attached(gateway.pid, fail_at(calls, error, when, tmp_path / "strace")):
                    witness.write(LETTERS)
                    break_off(gateway)
                    wait_until(lambda: not witness.busy(), "every letter to be answered 250", 60, gateway.log)
                points.note(f"{error} from {calls}")
            quiet(gateway, witness, hop)
            assert_back_to(base, gateway)
        witness.finish()
        tried(checker.check())
        assert gateway.stop() == 0


def test_kills_in_the_middle_of_large_messages_leave_no_file_behind() -> None:
    with place() as (gateway, _):
        for _ in range(2):
            with SmtpTalk(gateway.mx) as talk:
                talk.hello().data(PEOPLE[0])
                talk.send(HALF)
                wait_until(lambda: footprint(gateway).leftovers, "a large message that is being received")
                gateway.kill()
            gateway.start()
            assert not footprint(gateway).leftovers
        incoming = list((gateway.data / "bodies" / "incoming").iterdir())
        assert len(incoming) <= 1, "more than the zeros for the next segment"
        assert gateway.stop() == 0
        assert not any((gateway.data / "bodies" / "incoming").iterdir())


def test_what_killed_gateways_had_prepared_for_their_segments_is_given_back() -> None:
    with place() as (gateway, hop):
        for number in range(2):
            assert gateway.send(PEOPLE[0], message(f"m{number}")).startswith("250")
            gateway.kill()
            gateway.start()
        hop.wait_for(2)
        assert gateway.stop() == 0
        bodies = gateway.data / "bodies"
        taken = sum(path.stat().st_blocks * 512 for path in bodies.rglob("*") if path.is_file())
        assert taken < 1 << 20, f"two small messages take {taken >> 20} MiB"
