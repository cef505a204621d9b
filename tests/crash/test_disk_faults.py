"""A disk that fails or is full for a while: senders are asked to come again, nothing is lost or doubled, no restart.

System calls are made to fail by strace, or the data lies on a small file system that is filled (DESIGN §3.1, §3.3).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from testkit.checker import Checker, Points
from testkit.correspondent import Correspondent
from testkit.disks import fill, small_disk
from testkit.gateway import Gateway, running_gateway
from testkit.lives import PEOPLE
from testkit.next_hop import NextHop, next_hop
from testkit.signs import FOR_NOW, codes, healthy, refusals
from testkit.smtp_talk import SmtpTalk
from testkit.strace import Fault, attached, fail_at, injected, need_strace, prefix
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
Tried = Callable[[str], None]
START_AGAIN = 75
LETTERS = 400 if FULL else 30


@contextmanager
def place() -> Iterator[tuple[Gateway, NextHop]]:
    need_strace()
    with next_hop() as hop, running_gateway(primary=hop.port) as gateway:
        yield gateway, hop


def _injected_or_relayed(gateway: Gateway, log: Path) -> bool:
    return bool(injected(log)) or set(gateway.totals()) == {"relayed"}


def _arrived(hop: NextHop, content: bytes, times: int) -> bool:
    return sum(content in one.content for one in hop.taken) == times


@pytest.mark.parametrize(
    ("calls", "error", "when"),
    [
        ("fdatasync,fsync", "EIO", "3+17"),
        ("pwrite64", "ENOSPC", "7+161"),
        ("ftruncate,rename,mkdir", "EIO", "1+2"),
    ],
)
def test_calls_that_fail_now_and_then_cost_nothing_but_time(
    tmp_path: Path, tried: Tried, calls: str, error: str, when: str
) -> None:
    log = tmp_path / "strace"
    with place() as (gateway, hop):
        witness = Correspondent(gateway.mx, PEOPLE)
        points = Points(f"{error} from {calls}")
        checker = Checker(gateway, witness, hop, points)
        witness.start()
        with attached(gateway.pid, fail_at(calls, error, when, log)):
            witness.write(LETTERS)
            wait_until(lambda: not witness.busy(), "every letter to be answered 250", 120, gateway.log)
        points.tried[error] = injected(log)
        assert codes(witness) <= FOR_NOW
        assert points.tried.total() > (0 if "rename" in calls else 3)
        witness.finish()
        wait_until(lambda: healthy(gateway), "the store to be well again", 20, gateway.log)
        checker.check()
        assert gateway.stop() == 0
        gateway.start()
        tried(checker.check())


def ledger_sync_fails(gateway: Gateway, when: int, log: Path) -> Fault:
    return fail_at("fdatasync", "EIO", str(when), log, gateway.data / "ledger.db-wal")


def hand_in(gateway: Gateway, content: bytes) -> str:
    """One message by a sender that goes on after the reply, as a satisfied one does."""
    with SmtpTalk(gateway.mx) as talk:
        talk.hello().data(PEOPLE[0])
        answer = talk.ask(content + b".")
        assert talk.ask("NOOP").startswith("250")
        assert talk.ask("QUIT").startswith("221")
    return answer


def test_equal_messages_that_were_confirmed_stay_two_though_a_commit_failed_in_between(tmp_path: Path) -> None:
    with place() as (gateway, hop):
        for when in range(1, 5):
            log = tmp_path / str(when)
            alarm = f"From: device@example.org\r\nSubject: alarm {when}\r\n\r\nThe door is open.\r\n".encode()
            with attached(gateway.pid, ledger_sync_fails(gateway, when, log)):
                assert "queued as" in hand_in(gateway, alarm)
                wait_until(partial(_injected_or_relayed, gateway, log), "the failure")
                wait_until(lambda: healthy(gateway) and set(gateway.totals()) == {"relayed"}, "all to be well", 30)
            assert "queued as" in hand_in(gateway, alarm), f"the second alarm was swallowed (commit {when} failed)"
            wait_until(partial(_arrived, hop, alarm, 2), "both alarms", 20, gateway.log)
        gateway.assert_sound()


def test_a_gateway_whose_ledger_cannot_be_opened_says_by_its_exit_that_it_is_to_be_started_again(
    tmp_path: Path,
) -> None:
    need_strace()
    with next_hop() as hop, running_gateway(primary=hop.port) as gateway:
        assert gateway.send(PEOPLE[0], b"Subject: kept\r\n\r\nhello\r\n").startswith("250")
        gateway.wait_for(relayed=1)
        gateway.kill()
        log = tmp_path / "strace"
        fault = fail_at("ftruncate", "EIO", "1+1", log, gateway.data / "ledger.db-wal")
        with pytest.raises(AssertionError, match="writer_thread_failed"):
            gateway.start(prefix(fault))
        assert gateway.wait() == START_AGAIN
        assert injected(log)
        gateway.start()
        assert gateway.totals() == {"relayed": 1}
        gateway.assert_sound()


def refused_more_than(witness: Correspondent, times: int) -> bool:
    return refusals(witness) > times


@pytest.mark.parametrize("reserve", [0, 4 << 20] if FULL else [0])
def test_a_full_disk_is_got_over_as_soon_as_there_is_room(tmp_path: Path, tried: Tried, reserve: int) -> None:
    with next_hop() as hop, running_gateway(primary=hop.port, started=False) as gateway:
        gateway.configure(primary=hop.port, outside=hop.port, limits=f"disk_reserve = {reserve}")
        with small_disk(gateway.data, 48) as disk:
            gateway.start()
            witness = Correspondent(gateway.mx, PEOPLE)
            points = Points("full disk")
            checker = Checker(gateway, witness, hop, points)
            witness.start()
            witness.write(10)
            wait_until(lambda: not witness.busy(), "the first letters")
            ballast = disk / "ballast"
            for _ in range(3):
                fill(ballast)
                wanted = refusals(witness) + 20
                witness.write(20)
                wait_until(partial(refused_more_than, witness, wanted), "refusals for now", 20, gateway.log)
                points.note("full")
                ballast.unlink()
                wait_until(lambda: not witness.busy(), "every letter to be answered 250", 60, gateway.log)
            assert codes(witness) <= FOR_NOW
            witness.finish()
            wait_until(lambda: healthy(gateway), "the store to be well again", 20, gateway.log)
            tried(checker.check())
            assert gateway.stop() == 0
