"""A disk without inodes, or one that cannot be written: senders are told to come again, people go on reading.

Nothing is lost, and where the disk comes back by itself the gateway needs no restart (DESIGN §3.1, contract: 452 4.3.1).
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.checker import Checker, Points
from testkit.correspondent import Correspondent
from testkit.disks import Ext4Disk, ext4_disk
from testkit.gateway import Gateway, message, running_gateway
from testkit.lives import PEOPLE
from testkit.next_hop import next_hop
from testkit.signs import FOR_NOW, codes, healthy, lost_replies, readable, refusals
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
ROUNDS = 5 if FULL else 1
SENDERS = 3
FIRST, FURTHER = 14, 14
"""The last of each is a large one, which gets a file of its own."""
LINES = b"A line of a large message.\r\n" * 12_000
Tried = Callable[[str], None]


@dataclass
class Place:
    """A running gateway on an ext4 disk, with mail in it and a reader."""

    gateway: Gateway
    disk: Ext4Disk
    witness: Correspondent
    checker: Checker
    points: Points
    token: str

    def turned_away(self) -> int:
        """How many senders did not get their 250; each tries again until it does."""
        return refusals(self.witness) + lost_replies(self.witness)

    def write_in_vain(self) -> None:
        """Senders are told to come again, at first for their message, then at the door; the reader reads on."""
        before = self.turned_away()
        self.witness.write(FURTHER)
        wait_until(lambda: self.turned_away() >= before + SENDERS, "senders to be turned away", 20, self.gateway.log)
        assert readable(self.gateway, self.token, PEOPLE[0]) >= 1

    def recovers(self) -> None:
        """All is well again, without a restart."""
        wait_until(lambda: not self.witness.busy(), "every letter to be answered 250", 60, self.gateway.log)
        wait_until(lambda: healthy(self.gateway), "the store to be well again", 20, self.gateway.log)

    def prove(self) -> str:
        """Every letter is there once, and nobody was told never to come again, or nothing at all."""
        self.witness.finish()
        line = self.checker.check()
        assert codes(self.witness) <= FOR_NOW
        assert lost_replies(self.witness) == 0, f"{lost_replies(self.witness)} senders got no reply at all"
        assert self.gateway.stop() == 0
        return line


@contextmanager
def place(name: str, megabytes: int = 256, inodes: int | None = None) -> Iterator[Place]:
    with (
        next_hop() as hop,
        running_gateway(primary=hop.port, started=False) as gateway,
        ext4_disk(gateway.data, megabytes, inodes) as disk,
    ):
        try:
            gateway.start()
            witness = Correspondent(gateway.mx, PEOPLE, sessions=SENDERS, timeout_s=5)
            points = Points(name)
            witness.start()
            witness.write(FIRST)
            wait_until(lambda: not witness.busy(), "the first letters", 20, gateway.log)
            token = gateway.add_account(PEOPLE[0])
            wait_until(lambda: readable(gateway, token, PEOPLE[0]) >= 1, "the first copies", 20, gateway.log)
            yield Place(gateway, disk, witness, Checker(gateway, witness, hop, points), points, token)
        finally:
            gateway.kill()


def test_without_inodes_senders_come_again_and_readers_read_on(tried: Tried) -> None:
    with place("no inodes", 64, 2000) as here:
        ballast = here.disk.folder / "ballast"
        for _ in range(ROUNDS):
            files = take_every_inode(ballast)
            here.write_in_vain()
            here.points.note("without inodes")
            for file in files:
                file.unlink()
            here.recovers()
        tried(here.prove())


def take_every_inode(folder: Path) -> list[Path]:
    """Makes empty files until no further one can be made."""
    folder.mkdir(exist_ok=True)
    files: list[Path] = []
    for number in itertools.count():
        try:
            (folder / str(number)).touch(exist_ok=False)
        except OSError:
            return files
        files.append(folder / str(number))
    raise AssertionError("there is no end of inodes")


def test_while_nothing_can_be_written_senders_come_again_and_readers_read_on(tried: Tried) -> None:
    with place("write-protected") as here:
        for _ in range(ROUNDS):
            with here.disk.protected():
                here.write_in_vain()
            here.points.note("write-protected")
            here.recovers()
        tried(here.prove())


@pytest.mark.parametrize("how", ["write-protected", "read-only"])
def test_a_large_message_that_is_half_sent_when_the_disk_fails_gets_a_reply(how: str) -> None:
    with place(how) as here, ExitStack() as stack:
        talk = stack.enter_context(SmtpTalk(here.gateway.mx, timeout_s=8)).hello().data(PEOPLE[0])
        talk.send(message("large") + LINES)
        wait_until(lambda: being_received(here.gateway), "the first half to be in a file", 10)
        if how == "read-only":
            here.disk.fail()
        else:
            stack.enter_context(here.disk.protected())
        talk.send(LINES + b".\r\n")
        assert talk.reply()[:3] in FOR_NOW


def being_received(gateway: Gateway) -> bool:
    return any((gateway.data / "bodies" / "incoming").glob("m-*"))


def test_a_disk_that_turned_read_only_is_got_over_once_it_is_mounted_anew(tried: Tried) -> None:
    with place("read-only") as here:
        for _ in range(ROUNDS):
            here.checker.lives += 1
            here.disk.fail()
            here.write_in_vain()
            here.gateway.stop()
            here.disk.unmount()
            here.disk.mount()
            here.gateway.start()
            here.points.note("read-only")
            here.recovers()
        tried(here.prove())
