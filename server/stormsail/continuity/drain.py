"""Handing an event's held mail back: the oldest first within each mailbox, several mailboxes at once, paced.

In: an event that is draining. Out: `DrainEnd`. Mail that another active event covers passes to that event. More than
2 % failures of the primary in the last 50 attempts end the drain as a relapse (DESIGN §5).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from stormsail.clock import Clock
from stormsail.delivery import DeliveryQueue, LegResult
from stormsail.domain.errors import Conflict
from stormsail.domain.replies import ReplyClass
from stormsail.domain.scope import Coverage, Subject
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change, DeliveryRow, Ledger, LedgerReader

from .pacer import MailboxPacer
from .progress import Pace

WINDOW = 50
FAILURES_ALLOWED = 0.02
BATCH = 20
LOOK_S = 0.5


class DrainEnd(Enum):
    DONE = "done"
    RELAPSE = "relapse"


@dataclass(frozen=True)
class DrainParts:
    """What a drain works with. `pacer` and `workers` are for one primary's limits (the lane's own come on top)."""

    ledger: Ledger
    reader: LedgerReader
    queue: DeliveryQueue
    clock: Clock
    coverage: Callable[[], Coverage]
    pacer: MailboxPacer
    workers: int


class Drain:
    """One run over everything an event holds."""

    def __init__(self, event_id: int, parts: DrainParts) -> None:
        self._event_id = event_id
        self._parts = parts
        self._going = asyncio.Event()
        self._going.set()
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._mailboxes: deque[str] = deque()
        self._relapsed = False
        self._wayless: Conflict | None = None
        self.pace = Pace()

    @property
    def paused(self) -> bool:
        return not self._going.is_set()

    def pause(self) -> None:
        """Starts no further delivery."""
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    async def run(self) -> DrainEnd:
        """Returns when nothing is held by the event any more, or the primary is ill again.

        Raises Conflict where some of it has no way by the configuration of now, after all the rest had its turn.
        """
        while not self._relapsed:
            self._wayless = None
            self._mailboxes = deque(await self._parts.reader.held_mailboxes(self._event_id))
            if not self._mailboxes:
                return DrainEnd.DONE
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._parts.workers, len(self._mailboxes))):
                    group.create_task(self._work())
            self._tell_wayless()
        return DrainEnd.RELAPSE

    def _tell_wayless(self) -> None:
        if self._wayless is not None and not self._relapsed:
            raise self._wayless

    async def _work(self) -> None:
        """Takes mailboxes in turn, a few messages of each."""
        while self._mailboxes and not self._relapsed:
            mailbox = self._mailboxes.popleft()
            if await self._drain_some(mailbox):
                self._mailboxes.append(mailbox)

    async def _drain_some(self, mailbox: str) -> bool:
        """True while the mailbox has more."""
        rows = await self._parts.reader.held(self._event_id, mailbox, 0, BATCH)
        for row in rows:
            await self._going.wait()
            if self._relapsed:
                return False
            if not await self._wait_for_pace(mailbox):
                return True
            try:
                await self._hand_back(row)
            except Conflict as error:
                self._wayless = error
                return False
        return len(rows) == BATCH

    async def _wait_for_pace(self, mailbox: str) -> bool:
        """False where another mailbox should go meanwhile."""
        wait_ms = self._parts.pacer.wait_ms(mailbox, self._parts.clock.now_ms())
        if wait_ms:
            await asyncio.sleep(min(wait_ms / 1000, LOOK_S))
            return False
        return True

    async def _hand_back(self, row: DeliveryRow) -> None:
        other = self._parts.coverage().event_for(subject_of(row))
        if other is not None:
            await self._pass_on(row, other)
            return
        result = await self._parts.queue.try_held(row, self._event_id, trial=False)
        if result is not None and result.about is not None:
            self._count(result)

    async def _pass_on(self, row: DeliveryRow, other: int) -> None:
        """Another active event covers the recipient: it keeps the delivery now."""
        now = self._parts.clock.now_ms()
        change = Change(row.id, DeliveryState.HELD, DeliveryInput.KEEP, now, actor="drain", event_id=other)
        await self._parts.ledger.change([change])

    def _count(self, result: LegResult) -> None:
        self._recent.append(result.about is ReplyClass.SYSTEM)
        if result.about is ReplyClass.TAKEN:
            self.pace.note(self._parts.clock.now_ms())
        if sum(self._recent) > FAILURES_ALLOWED * WINDOW and not self._relapsed:
            self._relapsed = True
            self._parts.queue.call_off(self._event_id)


def subject_of(row: DeliveryRow) -> Subject:
    """The recipient of a delivery as event coverage sees it."""
    return Subject(row.mailbox or row.recipient.lower(), row.domain, row.segment)
