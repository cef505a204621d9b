"""A data directory with real parts under the copies: bodies, ledger, mailstore with its digest children.

`Gateway` is what a test opens, closes and opens again; `accept` does what intake does, without its rules.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from stormsail.clock import Clock, SystemClock, to_day
from stormsail.config import LimitSettings
from stormsail.directory.snapshot import DirectorySnapshot, DomainRule, Entry, EntryKind, make_snapshot
from stormsail.domain.errors import StoreError
from stormsail.domain.routing import Direction
from stormsail.domain.states import DeliveryState
from stormsail.ledger import Acceptance, Ledger, MessageFlag, PlannedDelivery
from stormsail.mailstore import Copy, CopyChange, CopyState, Mailstore
from stormsail.store import BodyFiles
from testkit.accepted import accepted
from testkit.waiting import WaitedTooLong

STEP_S = 0.01
DOMAIN = "example.com"
ANN, BEN, CAY, SALES = (f"{name}@{DOMAIN}" for name in ("ann", "ben", "cay", "sales"))
EVERYBODY = f"everybody@{DOMAIN}"
DIRECTORY = make_snapshot(
    [
        Entry(ANN, "Ann", "london", EntryKind.MAILBOX, aliases=(f"anna@{DOMAIN}",)),
        Entry(BEN, "Ben", "london", EntryKind.MAILBOX),
        Entry(CAY, "Cay", "leeds", EntryKind.MAILBOX),
        Entry(SALES, "Sales", "leeds", EntryKind.SHARED),
        Entry(EVERYBODY, "Everybody", None, EntryKind.GROUP, members=(ANN, BEN, f"friend@{DOMAIN}")),
        Entry(f"friend@{DOMAIN}", "Friend", None, EntryKind.CONTACT),
    ],
    [DomainRule(DOMAIN, "primary", "verify")],
    1,
    "+",
)


def corpus() -> list[Path]:
    """The difficult messages, where they are on this machine; an empty list where not."""
    named = os.environ.get("STORMSAIL_CORPUS")
    root = Path(named) if named else Path(__file__).parents[3] / "shared" / "corpus"
    return sorted(path for path in root.rglob("*") if path.is_file() and path.suffix in (".eml", ".txt"))


def simple(subject: str, text: str, *, author: str = "Olga <olga@elsewhere.example>", extra: str = "") -> bytes:
    """A plain message in UTF-8."""
    head = (
        f"From: {author}\r\nTo: {ANN}\r\nSubject: {subject}\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{zlib.crc32((subject + text).encode()):08x}@elsewhere.example>\r\n{extra}"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    )
    return (head + text.replace("\n", "\r\n") + "\r\n").encode()


class Gateway:
    """The parts; `start` and `stop` as often as a test wants. `changes` is everything that was told."""

    def __init__(self, data_dir: Path, clock: Clock | None = None, **limits: float) -> None:
        self.data_dir = data_dir
        self.clock = clock if clock is not None else SystemClock()
        self.directory: DirectorySnapshot = DIRECTORY
        self.limits = msgspec.convert({"digest_seconds": 10.0} | limits, LimitSettings)
        self.changes: list[CopyChange] = []
        self.bodies: BodyFiles
        self.ledger: Ledger
        self.mailstore: Mailstore

    async def start(self) -> None:
        """Opens ledger and mailstore."""
        self.bodies = BodyFiles(self.data_dir / "bodies")
        self.ledger = Ledger(self.data_dir, self.bodies, self.clock, self._fatal)
        self.ledger.start(asyncio.get_running_loop())
        await self.start_mailstore()

    async def start_mailstore(self) -> None:
        self.mailstore = Mailstore(
            self.data_dir,
            self.data_dir / "ledger.db",
            self.bodies,
            lambda: self.directory,
            self.clock,
            self.limits,
            self.changes.append,
        )
        await self.mailstore.start()

    async def stop(self) -> None:
        """Closes both, as at the end of a day."""
        await self.mailstore.stop()
        await asyncio.to_thread(self.ledger.stop)

    async def accept(
        self,
        content: bytes,
        recipients: Iterable[str | PlannedDelivery],
        *,
        direction: Direction = Direction.MX,
        author: str | None = None,
        flags: MessageFlag = MessageFlag.NONE,
        reverse_path: str = "olga@elsewhere.example",
    ) -> int:
        """Accepts a message as intake would, and wakes the mailstore; gives the ledger's id."""
        deliveries = [one if isinstance(one, PlannedDelivery) else self.delivery(one) for one in recipients]
        number = self.ledger.reserve(len(deliveries))
        now = self.clock.now_ms()
        acceptance = Acceptance(
            id=number,
            direction=direction,
            reverse_path=reverse_path,
            received_at=now,
            peer="192.0.2.1",
            helo="mail.elsewhere.example",
            tls="",
            author=author,
            flags=flags,
            head=b"Received: from mail.elsewhere.example\r\n",
            deliveries=deliveries,
            fingerprints=[],
            size=len(content),
        )
        if len(content) < 262_144:
            await accepted(self.ledger, acceptance, content)
        else:
            spooled = self.bodies.spool()
            spooled.write(content)
            await accepted(self.ledger, acceptance, None, await asyncio.to_thread(spooled.finish, to_day(now)))
        await self.ledger.verify_ownership()
        self.mailstore.wake()
        return number

    def delivery(self, recipient: str, state: DeliveryState = DeliveryState.QUEUED) -> PlannedDelivery:
        """A delivery as intake plans it."""
        known = self.directory.addresses.get(recipient)
        return PlannedDelivery(
            recipient, known, recipient.rpartition("@")[2], None, known is not None, "primary:primary", state
        )

    async def copies(self, mailbox: str, folder: str | None = None) -> list[Copy]:
        return list((await self.mailstore.page(mailbox, folder, None, None, 500)).copies)

    async def found(self, mailbox: str, query: str) -> list[str]:
        """Subjects of what a search finds, the newest first."""
        return [copy.subject for copy in (await self.mailstore.page(mailbox, None, query, None, 500)).copies]

    async def settled(self, patience_s: float = 20.0) -> None:
        """Until every accepted message has its rows and its digest."""
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            lag = await self.mailstore.lag()
            if lag.unfiled == 0 and lag.undigested == 0:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise WaitedTooLong(f"the copies are still behind after {patience_s:g} s: {lag}")
            await asyncio.sleep(STEP_S)

    async def only_copy(self, mailbox: str, folder: str | None = None) -> Copy:
        """The one copy that is there, prepared."""
        await self.settled()
        (copy,) = await self.copies(mailbox, folder)
        assert copy.state is not CopyState.PREPARING
        return copy

    def _fatal(self, error: StoreError) -> None:
        raise error


@asynccontextmanager
async def gateway(data_dir: Path, clock: Clock | None = None, **limits: float) -> AsyncIterator[Gateway]:
    """A running gateway, stopped at the end."""
    opened = Gateway(data_dir, clock, **limits)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()
