"""A ledger with its body files on the running loop, and acceptances made in one line.

In: a folder, perhaps a clock. Out: an open ledger with a reader; crashes as copies of its folder at a chosen moment.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from stormsail.clock import Clock
from stormsail.domain.errors import StoreError
from stormsail.domain.routing import Direction
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import (
    Acceptance,
    Change,
    DeliveryRow,
    Ledger,
    LedgerReader,
    MessageFlag,
    PlannedDelivery,
    check_ledger,
)
from stormsail.store import BodyFiles, BodyRef
from testkit.accepted import accepted
from testkit.clock import SetClock

LANE = "primary:exchange"


class OpenLedger:
    """One life of a ledger."""

    def __init__(self, folder: Path, clock: Clock | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.clock = clock or SetClock()
        self.fatal: list[StoreError] = []
        self.bodies = BodyFiles(folder / "bodies")
        self.ledger = Ledger(folder, self.bodies, self.clock, self.fatal.append)
        self.reader: LedgerReader

    async def start(self) -> None:
        self.ledger.start(asyncio.get_running_loop())
        self.reader = await LedgerReader.open(self.ledger.path)

    async def stop(self) -> None:
        await self.reader.close()
        await asyncio.to_thread(self.ledger.stop)

    def acceptance(
        self, *recipients: str, state: DeliveryState = DeliveryState.QUEUED, prints: tuple[bytes, ...] = ()
    ) -> Acceptance:
        """A message about to be accepted, every delivery in the same state."""
        planned = [
            PlannedDelivery(one, one, one.rpartition("@")[2], None, True, LANE, state)
            for one in recipients or ("ann@example.com",)
        ]
        number = self.ledger.reserve(len(planned))
        now = self.clock.now_ms()
        return Acceptance(
            number, Direction.MX, "x@example.org", now, "192.0.2.1", "client.test", "", None, MessageFlag.NONE,
            b"Received: from client.test\r\n", planned, list(prints), 0,
        )  # fmt: skip

    def keep(
        self, acceptance: Acceptance, content: bytes, changes: list[Change] | None = None
    ) -> asyncio.Future[BodyRef | None]:
        """Hands it to the ledger; done when it is safe, its rows may follow."""
        acceptance.size = len(content)
        return accepted(self.ledger, acceptance, content, changes=changes)

    async def accept(
        self,
        *recipients: str,
        state: DeliveryState = DeliveryState.QUEUED,
        content: bytes = b"Subject: x\r\n\r\nhello\r\n",
        prints: tuple[bytes, ...] = (),
    ) -> int:
        """Accepts a message and waits for its rows; gives its id."""
        acceptance = self.acceptance(*recipients, state=state, prints=prints)
        await self.keep(acceptance, content)
        await self.ledger.verify_ownership()
        return acceptance.id

    async def move(self, delivery: int, expected: DeliveryState, happened: DeliveryInput, **more: object) -> bool:
        """One move; whether it was done."""
        change = Change(delivery, expected, happened, self.clock.now_ms(), **more)  # type: ignore[arg-type]
        return (await self.ledger.change([change]))[0]

    async def only(self, message: int) -> DeliveryRow:
        """The message's only delivery."""
        [row] = await self.reader.deliveries(message)
        return row

    async def body(self, message: int) -> bytes:
        ref: BodyRef = (await self.reader.message(message)).body
        return self.bodies.read(ref)

    def problems(self) -> list[str]:
        """What the proof of the ledger finds."""
        return check_ledger(self.ledger.path, self.bodies)

    def crash(self, to: Path) -> Path:
        """What a crash at this moment would leave on the disk."""
        shutil.copytree(self.folder, to)
        return to

    def hold_writes(self) -> sqlite3.Connection:
        """No transaction of the ledger gets through until this connection is closed."""
        connection = sqlite3.connect(self.ledger.path, isolation_level=None, check_same_thread=False)
        connection.execute("BEGIN IMMEDIATE")
        return connection


@asynccontextmanager
async def open_ledger(folder: Path, clock: Clock | None = None) -> AsyncIterator[OpenLedger]:
    opened = OpenLedger(folder, clock)
    await opened.start()
    try:
        yield opened
    finally:
        await opened.stop()


def story(folder: Path, *lives: Callable[[OpenLedger], Awaitable[None]], clock: SetClock | None = None) -> None:
    """Runs each life with the ledger opened anew, and proves it at the end of each."""

    async def run() -> None:
        for life in lives:
            async with asyncio.timeout(60), open_ledger(folder, clock) as opened:
                await life(opened)
                assert opened.problems() == []

    asyncio.run(run())
