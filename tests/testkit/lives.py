"""Many lives of one gateway on the same data, each ended at a chosen system call, and the proof at the end.

In: a gateway that is not running and its next hop. Out: `Points` that were met, and the checker's line. Mail comes from
a correspondent, who hands in again what was not answered 250.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checker import Checker, Points
from .correspondent import Correspondent
from .gateway import Gateway
from .next_hop import NextHop
from .strace import attached, kill_at, prefix
from .waiting import WaitedTooLong, wait_until

PEOPLE = ["ann@example.com", "bob@example.com", "carl@example.com"]
LIFE_S = 5.0
"""A life in which the call does not come so often ends by a kill from outside."""
AT_THE_START = "at the start"
KILLED = (-9, 137)


@dataclass(frozen=True)
class Point:
    """The `when`-th such call, on one of our files (its name's end) or on anything, or of a start."""

    call: str
    where: str
    when: int

    def __str__(self) -> str:
        return f"{self.call} {self.where}".strip()


class Chain:
    """Lives of one gateway, each ended by a kill."""

    def __init__(self, gateway: Gateway, hop: NextHop, name: str) -> None:
        self.gateway = gateway
        self.hop = hop
        self.witness = Correspondent(gateway.mx, PEOPLE)
        self.points = Points(name)
        self.checker = Checker(gateway, self.witness, hop, self.points)

    def live(self, point: Point, letters: int) -> None:
        """One life, up to the point."""
        self.checker.lives += 1
        if point.where == AT_THE_START:
            self._die_at_start(point, letters)
            return
        self.gateway.start()
        self.checker.look()
        self.warm_up()
        with attached(self.gateway.pid, kill_at(point.call, point.when, self._file(point.where))):
            self.begin()
            self.witness.write(letters)
            self._await_death(str(point))

    def warm_up(self) -> None:
        """A letter before the fault is armed, so that every file is there and the connections are new again."""
        self.witness.write(1)
        wait_until(lambda: not self.witness.busy(), "the first letters", 20, self.gateway.log)
        self.hop.refuse()
        self.hop.listen()

    def begin(self) -> None:
        """What is done when the fault is armed."""

    def _die_at_start(self, point: Point, letters: int) -> None:
        try:
            self.gateway.start(prefix(kill_at(point.call, point.when)))
        except AssertionError:
            if self.gateway.wait() not in KILLED:
                raise
            self.points.note(str(point))
            self.gateway.kill()
            return
        self.witness.write(letters)
        self._await_death(str(point))

    def _await_death(self, what: str) -> None:
        try:
            wait_until(lambda: not self.gateway.alive, "the kill", LIFE_S)
            self.points.note(what)
        except WaitedTooLong:
            self.points.note("from outside")
        self.witness.pause()
        self.gateway.kill()

    def _file(self, where: str) -> Path | None:
        if not where:
            return None
        if where == "segment":
            segments = (self.gateway.data / "bodies").glob("*/s-*")
            return max(segments, key=lambda path: path.stat().st_mtime_ns)
        return self.gateway.data / where

    def settle(self) -> str:
        """The last life: everything is answered, delivered and proved; says what was tried."""
        self.checker.lives += 1
        self.gateway.start()
        self.begin()
        self.witness.finish()
        line = self.checker.check()
        wait_until(lambda: not self.gateway.status()["events"], "every event to close")
        assert self.gateway.stop() == 0
        return line
