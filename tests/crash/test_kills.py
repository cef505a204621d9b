"""SIGKILL at the n-th system call of the accept, relay, copy and drain paths: nothing lost, nothing doubled unmarked.

Each point is one life of the gateway on the same data, under a sender that repeats what was not answered 250. Forty
points by default, three hundred with STORMSAIL_FULL=1 (DESIGN §3.1, §3.3, §3.4).
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from testkit.gateway import Gateway, running_gateway
from testkit.lives import AT_THE_START, Chain, Point
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Behaviour
from testkit.strace import need_strace
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
LETTERS = 40
Tried = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """Where to kill: the times of the short form, and up to which time the full one goes."""

    call: str
    where: str
    short: tuple[int, ...]
    most: int


ACCEPT = [
    Plan("fdatasync", "segment", (1, 2, 4, 7), 25),
    Plan("pwrite64", "segment", (1, 3, 6), 25),
    Plan("fdatasync", "ledger.db-wal", (1, 2, 5), 25),
    Plan("pwrite64", "ledger.db-wal", (1, 4, 9), 60),
    Plan("fdatasync", "mail.db-wal", (1, 3), 10),
    Plan("pwrite64", "mail.db-wal", (2, 8), 40),
    Plan("pwrite64", "", (25, 90), 300),
    Plan("write", "", (4, 12, 25, 45), 160),
    Plan("connect", "", (1,), 4),
    Plan("rename", "", (1,), 3),
    Plan("fsync", "", (1, 2), 5),
    Plan("fdatasync", AT_THE_START, (4, 12), 20),
    Plan("pwrite64", AT_THE_START, (10, 40), 120),
    Plan("ftruncate,unlink", AT_THE_START, (1,), 6),
]
DRAIN = [
    Plan("write", "", (5, 15, 35), 120),
    Plan("fdatasync", "ledger.db-wal", (1, 3), 20),
    Plan("pwrite64", "ledger.db-wal", (2, 7), 40),
    Plan("connect", "", (1,), 4),
    Plan("pwrite64", AT_THE_START, (60,), 120),
]
FULL_ACCEPT, FULL_DRAIN = 240, 70


def points_of(plans: list[Plan], full: int) -> list[Point]:
    """The points of the plans in a mixed order that is the same every time."""
    share = full // len(plans)
    points = [
        Point(plan.call, plan.where, when)
        for plan in plans
        for when in ((1 + number * plan.most // share for number in range(share)) if FULL else plan.short)
    ]
    random.Random(7).shuffle(points)
    return points


@contextmanager
def place() -> Iterator[tuple[Gateway, NextHop]]:
    need_strace()
    with next_hop() as hop, running_gateway(primary=hop.port, started=False) as gateway:
        yield gateway, hop


def test_a_gateway_killed_while_it_takes_and_relays_mail_loses_and_doubles_nothing(tried: Tried) -> None:
    with place() as (gateway, hop):
        chain = Chain(gateway, hop, "accept, relay, copy")
        chain.witness.start()
        points = points_of(ACCEPT, FULL_ACCEPT)
        for point in points:
            chain.live(point, LETTERS)
        tried(chain.settle())
        assert chain.points.tried["from outside"] <= len(points) // 4


class DrainChain(Chain):
    """Lives in which held mail is handed back; when all of it is, a new event begins."""

    def __init__(self, gateway: Gateway, hop: NextHop, name: str) -> None:
        super().__init__(gateway, hop, name)
        self._names = (f"test {number}" for number in itertools.count())
        self._held: set[bytes] = set()

    def hold(self, letters: int) -> None:
        """A life without trouble: an event holds what comes."""
        self.gateway.start()
        self.gateway.api("POST", "/events", json={"scope": "all", "reason": next(self._names)})
        before = len(self.witness.letters)
        self.witness.write(letters)
        wait_until(lambda: not self.witness.busy(), "the letters to be held", 30, self.gateway.log)
        self._held |= {letter.mark for letter in self.witness.letters[before:]}
        wait_until(lambda: self.gateway.totals().get("held", 0) >= letters, "the letters on hold")
        assert self.gateway.stop() == 0

    def raised_absence_notes(self) -> list[bytes]:
        """Old mail that went back without the field that keeps absence notes away (DESIGN §5)."""
        heads = [one.content.partition(b"\r\n\r\n")[0] + b"\r\n" for one in self.hop.messages]
        late = [head for head in heads if any(mark in head for mark in self._held)]
        return [head for head in late if not head.startswith(b"X-Auto-Response-Suppress: OOF, AutoReply\r\n")]

    def warm_up(self) -> None:
        """Nothing: the drain goes on as soon as the gateway is there."""

    def begin(self) -> None:
        """Ends the event, unless an earlier life has; the kill may come before the answer."""
        try:
            for event in self.gateway.status()["events"]:
                if event["state"] == "active":
                    self.gateway.api("POST", f"/events/{event['id']}/end", json={"force": True})
        except httpx.HTTPError:
            wait_until(lambda: not self.gateway.alive, "the kill, since the gateway does not answer")


def test_a_gateway_killed_while_it_hands_mail_back_loses_and_doubles_nothing(tried: Tried) -> None:
    with place() as (gateway, hop):
        hop.behave(Behaviour(delay_s=0.005))
        chain = DrainChain(gateway, hop, "drain")
        chain.witness.start()
        points = points_of(DRAIN, FULL_DRAIN)
        for number, point in enumerate(points):
            if number % 6 == 0:
                chain.hold(40)
            chain.live(point, 2)
        hop.behave()
        tried(chain.settle())
        assert chain.points.tried["from outside"] <= len(points) // 4
        assert not chain.raised_absence_notes()
