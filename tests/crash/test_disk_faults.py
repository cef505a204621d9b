"""A disk that fails or is full for a while: senders are asked to come again, nothing is lost or doubled, no restart.

System calls are made to fail by strace, or the data lies on a small file system that is filled (DESIGN §3.1, §3.3).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from testkit.checker import Checker, Points
from testkit.correspondent import Correspondent
from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.smtp_talk import SmtpTalk
from testkit.strace import Fault, attached, fail_at, injected, need_strace
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
Tried = Callable[[str], None]
PEOPLE = ["ann@example.com", "bob@example.com", "carl@example.com"]
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


def _refused_more_than(witness: Correspondent, times: int) -> bool:
    return sum(len(one.refused) for one in witness.letters) > times


def codes(witness: Correspondent) -> set[str]:
    """What was said to senders whose message was not taken."""
    return {words[:3] for letter in witness.letters for words in letter.refused}


def healthy(gateway: Gateway) -> bool:
    """Whether the gateway itself says that its store is well."""
    return all(one["ok"] for one in gateway.status()["own_health"] if one["name"] in ("store", "disk"))


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
        assert codes(witness) <= {"421", "451", "452"}
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


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own, of that size; skips where none may be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {mounted.stderr.decode()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


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
                before = sum(len(letter.refused) for letter in witness.letters)
                witness.write(20)
                refusals = before + 20
                wait_until(
                    partial(_refused_more_than, witness, refusals),
                    "refusals for now", 20, gateway.log,
                )  # fmt: skip
                points.note("full")
                ballast.unlink()
                wait_until(lambda: not witness.busy(), "every letter to be answered 250", 60, gateway.log)
            assert codes(witness) <= {"421", "451", "452"}
            witness.finish()
            wait_until(lambda: healthy(gateway), "the store to be well again", 20, gateway.log)
            tried(checker.check())
            assert gateway.stop() == 0


def fill(ballast: Path) -> None:
    """Takes all room there is."""
    with ballast.open("wb", buffering=0) as file:
        size = 1 << 20
        while size >= 4096:
            try:
                file.write(b"x" * size)
            except OSError:
                size //= 2
