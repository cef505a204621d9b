"""The wall clock is set forward or back by a day or by sixty: nothing expires, doubles, stalls or is deleted.

Mail waits for a primary and an outside that do not take it, mail is held by an event, copies are read; the clock moves
while the gateway runs, or while it is down (DESIGN §3.10, §3.16).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stormsail.domain.replies import Stage
from testkit.gateway import Gateway, message, running_gateway
from testkit.moved_clock import MovedClock
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Behaviour
from testkit.signs import readable
from testkit.smtp_talk import SmtpTalk
from testkit.strace import attached, kill_at, need_strace
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
ANN, BOB, DORA, FRIEND = "ann@example.com", "bob@example.com", "dora@example.com", "friend@example.net"
PATIENCE_S = 20
ILL = Behaviour(on={Stage.MAIL: "451 4.3.0 Not now"})


@dataclass
class Place:
    gateway: Gateway
    hop: NextHop
    clock: MovedClock

    def start(self) -> None:
        self.gateway.start(env=self.clock.env)

    def restart(self) -> None:
        assert self.gateway.stop() == 0
        self.start()

    def send(self, number: int) -> None:
        """One message each to Ann, to Bob, and from Dora out to a friend."""
        assert self.gateway.send(ANN, message(f"for Ann {number}")).startswith("250")
        assert self.gateway.send(BOB, message(f"for Bob {number}")).startswith("250")
        out = message(f"out {number}", X_OriginatorOrg="example.com", From=DORA)
        port = self.gateway.connector
        assert self.gateway.send(FRIEND, out, reverse_path=DORA, port=port).startswith("250")

    def wait_for(self, **wanted: int) -> None:
        self.gateway.wait_for(PATIENCE_S, **wanted)

    def wait_for_attempts(self) -> None:
        """Until mail has been tried again, in vain."""
        arrivals = self.hop.server.arrivals
        wanted = arrivals.get(Stage.MAIL, 0) + 4
        wait_until(lambda: arrivals.get(Stage.MAIL, 0) >= wanted, "further attempts", PATIENCE_S, self.words)

    def words(self) -> str:
        return f"{self.gateway.totals()}\n{self.gateway.log()}"

    def wait_for_readable(self, token: str, mailbox: str, count: int) -> None:
        what = f"{count} messages in {mailbox}"
        wait_until(lambda: readable(self.gateway, token, mailbox) == count, what, PATIENCE_S, self.gateway.log)

    def subjects(self) -> list[str]:
        """Of everything that the primary and the outside got."""
        return sorted(
            one.content.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode() for one in self.hop.taken
        )


@contextmanager
def place(tmp_path: Path) -> Iterator[Place]:
    clock = MovedClock(tmp_path)
    with next_hop() as hop, running_gateway(primary=hop.port, outside=hop.port, started=False) as gateway:
        here = Place(gateway, hop, clock)
        here.start()
        yield here


CASES = [(-1, False), (60, False), (-60, True)]
FURTHER = [(1, False), (-60, False), (1, True), (-1, True), (60, True)]
WRONG = [60, -60] if FULL else [60]


@pytest.mark.parametrize(("days", "restarted"), [*CASES, *(FURTHER if FULL else [])])
def test_waiting_and_held_mail_and_copies_outlast_a_clock_that_is_set_wrong(
    tmp_path: Path, days: int, restarted: bool
) -> None:
    with place(tmp_path) as here:
        here.hop.behave(ILL)
        token = here.gateway.add_account(ANN)
        event = here.gateway.api("POST", "/events", json={"scope": f"mailbox:{BOB}", "reason": "moved"})
        here.send(1)
        here.wait_for(deferred=2, held=1)
        here.clock.set_days(days)
        if restarted:
            here.restart()
        else:
            wait_until(lambda: clock_is_doubted(here.gateway), "the alert that the clock has jumped", PATIENCE_S)
        here.send(2)
        here.wait_for_attempts()
        here.hop.behave()
        here.wait_for(relayed=2, sent=2, held=2)
        here.gateway.api("POST", f"/events/{event['id']}/end")
        here.wait_for(relayed=4, sent=2)
        assert here.subjects() == ["for Ann 1", "for Ann 2", "for Bob 1", "for Bob 2", "out 1", "out 2"]
        here.wait_for_readable(token, ANN, 2)
        here.gateway.assert_sound()
        assert here.gateway.stop() == 0


def clock_is_doubted(gateway: Gateway) -> bool:
    return not all(one["ok"] for one in gateway.status()["own_health"] if one["name"] == "clock")


@pytest.mark.parametrize("days", WRONG)
def test_a_clock_that_is_set_wrong_and_right_again_leaves_nothing_waiting(tmp_path: Path, days: int) -> None:
    with place(tmp_path) as here:
        here.hop.behave(ILL)
        here.send(1)
        here.wait_for(deferred=3)
        here.clock.set_days(days)
        here.send(2)
        here.wait_for_attempts()
        wait_until(lambda: clock_is_doubted(here.gateway), "the alert that the clock has jumped", PATIENCE_S)
        here.clock.set_days(0)
        here.hop.behave()
        here.wait_for(relayed=4, sent=2)
        assert len(here.subjects()) == 6
        here.gateway.assert_sound()


@pytest.mark.parametrize("days", [60, -60])
def test_old_mail_stays_though_the_gateway_is_restarted_under_a_clock_that_has_jumped(
    tmp_path: Path, days: int
) -> None:
    with place(tmp_path) as here:
        token = here.gateway.add_account(ANN)
        here.send(1)
        here.wait_for(relayed=2, sent=1)
        here.wait_for_readable(token, ANN, 1)
        here.clock.set_days(days)
        wait_until(lambda: clock_is_doubted(here.gateway), "the alert that the clock has jumped", PATIENCE_S)
        here.restart()
        here.send(2)
        here.wait_for(relayed=4, sent=2)
        here.clock.set_days(0)
        here.restart()
        token = here.gateway.add_account(BOB)
        here.wait_for_readable(token, BOB, 2)
        here.gateway.assert_sound()


@pytest.mark.parametrize("days", WRONG)
def test_a_repeat_is_known_though_the_clock_has_jumped_meanwhile(tmp_path: Path, days: int) -> None:
    with place(tmp_path) as here:
        with SmtpTalk(here.gateway.mx) as talk:
            talk.hello().data(ANN)
            talk.send(message("alarm") + b".\r\n")
            here.hop.wait_for(1)
            talk.reset()
        here.wait_for(relayed=1)
        here.clock.set_days(days)
        here.restart()
        assert "repeat of" in here.gateway.send(ANN, message("alarm"))
        here.wait_for(relayed=1, absorbed=1)


def test_what_was_answered_250_before_a_kill_is_found_though_later_days_are_there(tmp_path: Path) -> None:
    need_strace()
    with place(tmp_path) as here:
        for days in (60, 61, 62, 0):
            here.clock.set_days(days)
            assert here.gateway.send(ANN, message(f"day {days}")).startswith("250")
        here.wait_for(relayed=4)
        with attached(here.gateway.pid, kill_at("pwrite64", 1, here.gateway.data / "ledger.db-wal")):
            here.hop.refuse()
            assert here.gateway.send(ANN, message("the last")).startswith("250")
            wait_until(lambda: not here.gateway.alive, "the kill", PATIENCE_S)
        here.gateway.kill()
        here.hop.listen()
        here.start()
        here.wait_for(relayed=5)
        assert "the last" in here.subjects()
        here.gateway.assert_sound()
