"""The queue: lanes by name, the schedule that brings waiting deliveries from the ledger, and operators' bulk moves.

In: fresh acceptances, due times. Out: attempts on lanes. Memory holds only what is being tried or about to be; the
rest waits in the ledger. A delivery is claimed by compare-and-set before it is tried.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import structlog

from stormsail.clock import Clock
from stormsail.domain.errors import Conflict, NotFound, StormsailError
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Acceptance, Change, DeliveryRow, Ledger, LedgerReader, MessageRow, QueueFilter
from stormsail.store import BodyRef

from .attempt import Attempt, Leg, LegResult, fresh_legs, fresh_outgoing, group_by_message, stored_leg, stored_outgoing
from .bulk import move_all
from .hops import Hops
from .lane import Lane, LaneParts, LaneStatus
from .reroute import reroute
from .runner import Runner
from .settle import Settlement

REFILL = 100
LOOK_S = 1.0
LOOK_AGAIN_MS = 60_000
"""How often the ledger is asked what is due, whatever we remember."""
CLOSE_S = 20.0
QUIET_LANES = 200
log = structlog.get_logger()


@dataclass(frozen=True)
class DeliveryParts:
    """What the queue works with."""

    ledger: Ledger
    reader: LedgerReader
    clock: Clock
    runner: Runner
    hops: Hops
    chance: Callable[[], float]


class DeliveryQueue:
    """Starts with `start`, ends with `stop`; in between mail moves by itself."""

    def __init__(self, parts: DeliveryParts, settlement: Settlement) -> None:
        self._parts = parts
        self._settlement = settlement
        self._lanes: dict[str, Lane] = {}
        self._due: dict[str, int] = {}
        self._poked = asyncio.Event()
        self._schedule: asyncio.Task[None] | None = None
        self._stopping = False
        self._look_again_at = 0

    async def start(self) -> None:
        self._due = await self._parts.reader.lanes_due()
        self._schedule = asyncio.get_running_loop().create_task(self._run_schedule())

    async def stop(self) -> None:
        """Lets conversations end, gives back what never began, waits until all is written."""
        self._stopping = True
        if self._schedule is not None:
            self._schedule.cancel()
            await asyncio.gather(self._schedule, return_exceptions=True)
        given_back = await asyncio.gather(*(lane.close(CLOSE_S) for lane in list(self._lanes.values())))
        now = self._parts.clock.now_ms()
        changes = [_given_back(leg, now) for attempts in given_back for attempt in attempts for leg in attempt.legs]
        try:
            if changes:
                await self._parts.ledger.change(changes)
            async with asyncio.timeout(CLOSE_S):
                await self._settlement.finish()
        except (StormsailError, TimeoutError) as error:
            log.error("deliveries_left_active", why=str(error))

    def reconfigure(self, hops: Hops, runner: Runner) -> None:
        """New lanes by a reloaded configuration; open conversations end as they began."""
        self._parts = DeliveryParts(
            self._parts.ledger, self._parts.reader, self._parts.clock, runner, hops, self._parts.chance
        )
        for name, lane in self._lanes.items():
            lane.policy = hops.policy(name)
            lane.use(self._lane_parts(name))

    # ── fresh mail ──

    def start_now(self, lane: str, size: int) -> bool:
        """Whether a message that is just being accepted may go to the lane without waiting in the ledger."""
        return not self._stopping and self._lane(lane).takes_fresh(size)

    def accepted(self, acceptance: Acceptance, content: bytes | None, body: BodyRef) -> None:
        """A message is durable: start what was planned to start at once."""
        outgoing = None
        for name, legs in fresh_legs(acceptance).items():
            if outgoing is None:
                outgoing = fresh_outgoing(acceptance, content, body)
            self._lane(name).submit(Attempt(outgoing, legs))

    def recorded(self, acceptance: Acceptance) -> None:
        """Its rows are there: what did not start at once is found by the schedule from now on."""
        for planned in acceptance.deliveries:
            if planned.state is DeliveryState.QUEUED:
                self.note_due(planned.lane, acceptance.received_at)

    def note_due(self, lane: str, at_ms: int) -> None:
        """A delivery of the lane is to be tried at that time."""
        known = self._due.get(lane)
        if known is None or at_ms < known:
            self._due[lane] = at_ms
            self._poked.set()

    async def look_again(self) -> None:
        """After moves made elsewhere: ask the ledger what is due."""
        for lane, at_ms in (await self._parts.reader.lanes_due()).items():
            self.note_due(lane, at_ms)

    def look_again_soon(self) -> None:
        """The same, without waiting for it."""
        self._look_again_at = 0
        self._poked.set()

    # ── held mail ──

    async def try_held(self, row: DeliveryRow, event_id: int, *, trial: bool) -> LegResult | None:
        """Tries a held delivery for an event that ends; None where it is no longer held.

        A trial that fails puts it back on hold; else its outcome is that of any attempt.
        """
        now = self._parts.clock.now_ms()
        try:
            message = await self._parts.reader.message(row.message_id)
        except NotFound:
            return None
        name = self._parts.hops.usable_lane(row.lane, row.domain)
        if name is None or not self._lane(name).usable:
            raise Conflict(f"There is no way to {row.lane} by the configuration of now")
        lane = self._lane(name)
        done: asyncio.Future[list[LegResult]] = asyncio.get_running_loop().create_future()
        attempt = Attempt(stored_outgoing(message), [stored_leg(row, now)], event_id, trial, done)

        def claimed(outcome: list[bool]) -> None:
            if outcome[0]:
                lane.submit(attempt)

        start = Change(
            row.id,
            DeliveryState.HELD,
            DeliveryInput.START,
            now,
            actor="drain",
            event_id=event_id,
            attempt=row.attempts,
        )
        if not (await self._parts.ledger.change([start], claimed))[0]:
            return None
        return (await done)[0]

    def call_off(self, event_id: int) -> None:
        """A drain ends before its time: what waits for its turn goes back into the ledger, `try_held` returns."""
        for lane in self._lanes.values():
            lane.call_off(event_id)

    # ── operators ──

    async def hold(self, chosen: QueueFilter, actor: str) -> int:
        """Holds waiting deliveries until somebody releases them; says how many."""
        return await self._move(chosen, DeliveryInput.HOLD, actor)

    async def release(self, chosen: QueueFilter, actor: str) -> int:
        """Lets held deliveries go that no active event holds."""
        active = {event.id for event in self._parts.runner.coverage().events}
        return await self._move(chosen, DeliveryInput.RELEASE, actor, active)

    async def retry(self, chosen: QueueFilter, actor: str) -> int:
        """Makes waiting deliveries due now."""
        return await self._move(chosen, DeliveryInput.RETRY, actor)

    async def drop(self, chosen: QueueFilter, actor: str) -> int:
        """Gives deliveries up for good; copies stay."""
        return await self._move(chosen, DeliveryInput.DROP, actor)

    async def _move(
        self, chosen: QueueFilter, happened: DeliveryInput, actor: str, except_events: set[int] | None = None
    ) -> int:
        moved = await move_all(self._parts.ledger, self._parts.clock, chosen, happened, actor, except_events or set())
        await self.look_again()
        return moved

    def lanes(self) -> list[LaneStatus]:
        """All lanes that have been used, by name."""
        return [lane.status() for _, lane in sorted(self._lanes.items())]

    # ── the schedule ──

    async def _run_schedule(self) -> None:
        """Never ends by itself: whatever goes wrong is logged and the next turn tries again."""
        while True:
            self._poked.clear()
            try:
                await self._turn()
            except Exception:
                log.exception("schedule_failed")
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._poked.wait()
            except TimeoutError:
                continue

    async def _turn(self) -> None:
        now = self._parts.clock.now_ms()
        if now >= self._look_again_at or now < self._look_again_at - 2 * LOOK_AGAIN_MS:
            await self.look_again()
            self._look_again_at = now + LOOK_AGAIN_MS
        for lane in [name for name, at_ms in self._due.items() if at_ms <= now]:
            try:
                await self._refill(lane, now)
            except StormsailError as error:
                log.warning("refill_postponed", lane=lane, why=error.sentence)
                self.note_due(lane, now)
        self._forget_quiet_lanes()

    async def _refill(self, name: str, now: int) -> None:
        """Brings due deliveries of a lane into its hands, as many as it has places for."""
        lane = self._lane(name)
        if not lane.usable:
            await self._reroute(name, now)
            return
        places = min(lane.free_places(), REFILL)
        if places == 0:
            return
        # Forgotten first: what becomes due while we look is then remembered, not overwritten.
        self._due.pop(name, None)
        rows = await self._parts.reader.due(name, now, places)
        if rows:
            await self._claim(lane, rows, now)
        later = now if len(rows) == places else await self._parts.reader.next_due(name)
        if later is not None:
            self.note_due(name, later)

    async def _reroute(self, name: str, now: int) -> None:
        """The lane leads nowhere by the configuration of now; mail that finds no other way is looked at again later."""
        self._due[name] = now + LOOK_AGAIN_MS
        for other in await reroute(self._parts.ledger, self._parts.reader, self._parts.hops, name):
            self.note_due(other, now)
        if await self._parts.reader.next_due(name) is None:
            self._due.pop(name, None)

    def wayless(self) -> list[str]:
        """Lanes that mail waits for and the configuration does not have."""
        return [name for name in self._due if not self._lane(name).usable and not self._stopping]

    async def _claim(self, lane: Lane, rows: list[DeliveryRow], now: int) -> None:
        """Starts attempts for those rows that are still as they were read."""
        groups = group_by_message(rows)
        messages = {message_id: await self._message(message_id, rows) for message_id, _ in groups}
        known = [row for row in rows if messages[row.message_id] is not None]

        def claimed(outcome: list[bool]) -> None:
            mine = {row.id for row, done in zip(known, outcome, strict=True) if done}
            for (message_id, _), group in groups.items():
                message = messages[message_id]
                legs: list[Leg] = [stored_leg(row, now) for row in group if row.id in mine]
                if message is not None and legs:
                    lane.submit(Attempt(stored_outgoing(message), legs))

        changes = [
            Change(row.id, row.state, DeliveryInput.START, now, actor="delivery", attempt=row.attempts) for row in known
        ]
        await self._parts.ledger.change(changes, claimed)

    async def _message(self, message_id: int, rows: list[DeliveryRow]) -> MessageRow | None:
        """The message; where the ledger has lost it, its deliveries are put on hold for a person to see."""
        try:
            return await self._parts.reader.message(message_id)
        except NotFound:
            now = self._parts.clock.now_ms()
            lost = [row for row in rows if row.message_id == message_id]
            reply = "554 5.6.0 The ledger has no such message"
            await self._parts.ledger.change(
                [Change(row.id, row.state, DeliveryInput.HOLD, now, actor="delivery", reply=reply) for row in lost]
            )
            return None

    def _lane_changed(self, name: str) -> None:
        if name in self._due:
            self._poked.set()

    def _lane(self, name: str) -> Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = Lane(name, self._parts.hops.policy(name), self._lane_parts(name))
            self._lanes[name] = lane
        return lane

    def _lane_parts(self, name: str) -> LaneParts:
        parts = self._parts
        settle = partial(self._settle, name)
        return LaneParts(parts.runner, settle, self._lane_changed, parts.clock.now_ms, parts.chance)

    def _settle(self, name: str, attempt: Attempt, results: list[LegResult], remote: str, took_ms: int) -> None:
        self._settlement.settle(name, self._lane(name).policy, attempt, results, remote, took_ms)

    def _forget_quiet_lanes(self) -> None:
        """Lanes to domains of the internet come and go."""
        if len(self._lanes) > QUIET_LANES:
            for name in [name for name, lane in self._lanes.items() if lane.quiet and name not in self._due]:
                del self._lanes[name]


def _given_back(leg: Leg, now: int) -> Change:
    """The move of a delivery whose attempt never began."""
    return Change(
        leg.id,
        DeliveryState.ACTIVE,
        DeliveryInput.DEFER,
        now,
        actor="shutdown",
        due_at=now,
        attempt=leg.attempts,
    )
