"""The power goes: what was not on stable storage is lost with the journal in memory, what was answered 250 is not.

The gateway's data lies on an ext4 file system of its own, which is shut down without a flush of its log. The power goes
the moment the n-th system call of the accept, relay, copy or start begins, or under a gateway that runs on and meets a
dead disk. Six cuts by default, sixty with STORMSAIL_FULL=1 (DESIGN §3.1, §3.3, §6).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from testkit.disks import Ext4Disk, ext4_disk
from testkit.gateway import Gateway, running_gateway
from testkit.lives import AT_THE_START, Chain, Point
from testkit.next_hop import NextHop, next_hop
from testkit.signs import lost_replies, refusals
from testkit.strace import need_strace
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
Tried = Callable[[str], None]
LETTERS = 40
DISK_MB = 4096
UNDER_IT = "under a gateway that runs on"
SHORT = [
    Point("pwrite64", "segment", 5),
    Point("fdatasync", "ledger.db-wal", 2),
    Point("pwrite64", "mail.db-wal", 6),
    Point("rename", "", 2),
    Point("pwrite64", AT_THE_START, 30),
    Point("answers", UNDER_IT, 20),
]
MOST = {
    ("fdatasync", "segment"): 25,
    ("pwrite64", "segment"): 25,
    ("fdatasync", "ledger.db-wal"): 20,
    ("pwrite64", "ledger.db-wal"): 60,
    ("fdatasync", "mail.db-wal"): 10,
    ("pwrite64", "mail.db-wal"): 40,
    ("rename", ""): 3,
    ("pwrite64", AT_THE_START): 120,
    ("fdatasync", AT_THE_START): 20,
    ("answers", UNDER_IT): 40,
}
"""Up to which time the full form goes."""


def points() -> list[Point]:
    """The cuts in a mixed order that is the same every time."""
    if not FULL:
        return SHORT
    chosen = [Point(call, where, 1 + step * most // 6) for (call, where), most in MOST.items() for step in range(6)]
    random.Random(7).shuffle(chosen)
    return chosen


class PowerChain(Chain):
    """Lives of one gateway, each ended by a power cut."""

    def __init__(self, gateway: Gateway, hop: NextHop, disk: Ext4Disk) -> None:
        super().__init__(gateway, hop, "power cut")
        self._disk = disk

    def live(self, point: Point, letters: int) -> None:
        """One life up to the point, then the disk as it is found after the cut."""
        if point.where == UNDER_IT:
            self._cut_under(point, letters)
        else:
            super().live(point, letters)
            self._disk.cut_power()
        self._disk.unmount()
        self._disk.mount()

    def _cut_under(self, point: Point, letters: int) -> None:
        """The disk is dead as soon as so many letters were answered; the gateway sees it, then goes too."""
        self.checker.lives += 1
        self.gateway.start()
        self.warm_up()
        wanted = self.witness.answered + point.when
        self.witness.write(letters + point.when)
        wait_until(lambda: self.witness.answered >= wanted, "the answers before the cut", 20, self.gateway.log)
        self.checker.look()
        self._disk.cut_power()
        turned_away = refusals(self.witness) + lost_replies(self.witness)
        wait_until(
            lambda: refusals(self.witness) + lost_replies(self.witness) > turned_away,
            "a sender who is turned away", 20, self.gateway.log,
        )  # fmt: skip
        self.points.note(str(point))
        self.witness.pause()
        self.gateway.kill()


@contextmanager
def place() -> Iterator[tuple[Gateway, NextHop, Ext4Disk]]:
    """The gateway is gone before its disk is."""
    need_strace()
    with (
        next_hop() as hop,
        running_gateway(primary=hop.port, started=False) as gateway,
        ext4_disk(gateway.data, DISK_MB) as disk,
    ):
        try:
            yield gateway, hop, disk
        finally:
            gateway.kill()


def test_a_power_cut_costs_nothing_that_was_answered_250(tried: Tried) -> None:
    with place() as (gateway, hop, disk):
        chain = PowerChain(gateway, hop, disk)
        chain.witness.start()
        cuts = points()
        for point in cuts:
            chain.live(point, LETTERS)
        tried(chain.settle())
        assert chain.points.tried["from outside"] <= len(cuts) // 4
