"""Writing down how attempts ended: moves in the ledger, notices to authors, what others want to know.

In: an attempt with its results. Out: changes handed to the ledger, retried until the ledger has said yes or "no
longer so". The decision itself is `domain.outcome`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec
import structlog

from stormsail.clock import Clock
from stormsail.domain.errors import StormsailError
from stormsail.domain.outcome import Outcome, Tried, decide
from stormsail.domain.replies import ReplyClass
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import Change, Ledger

from .attempt import Attempt, Leg, LegResult
from .hops import LanePolicy

RETRY_WRITE_S = 1.0
log = structlog.get_logger()


class FailedLeg:
    """A delivery that failed for good, for the notice to its author."""

    __slots__ = ("change", "leg", "result")

    def __init__(self, leg: Leg, result: LegResult, change: Change) -> None:
        self.leg = leg
        self.result = result
        self.change = change


@dataclass(frozen=True)
class SettleParts:
    """`notify` writes the notice and the moves in one commit and says whether it did;
    `refused` is told of mail from outside that the primary refused (lane, message id, leg, class);
    `due` when a delivery of a lane is to be tried again; `active` says whether an event still holds mail."""

    ledger: Ledger
    clock: Clock
    chance: Callable[[], float]
    notify: Callable[[Attempt, list[FailedLeg]], Awaitable[bool]]
    refused: Callable[[int, Leg, ReplyClass], None]
    due: Callable[[str, int], None]
    active: Callable[[int], bool]


class Settlement:
    """Turns results into the ledger's moves."""

    def __init__(self, parts: SettleParts) -> None:
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()

    def settle(
        self, lane: str, policy: LanePolicy, attempt: Attempt, results: list[LegResult], remote: str, took_ms: int
    ) -> None:
        """Starts writing down an attempt's results; returns at once."""
        changes: list[Change] = []
        failed: list[FailedLeg] = []
        for leg, result in zip(attempt.legs, results, strict=True):
            outcome = self._outcome(policy, attempt, leg, result)
            change = self._change(attempt, leg, result, outcome, remote, took_ms)
            if outcome.alert is not None:
                log.warning("delivery_needs_a_person", delivery=leg.id, why=outcome.alert)
            if outcome.notify_author:
                failed.append(FailedLeg(leg, result, change))
            else:
                changes.append(change)
            if outcome.happened is DeliveryInput.REFUSE and result.about is not None:
                self._parts.refused(attempt.message.id, leg, result.about)
        self._spawn(self._write(lane, attempt, changes, failed, results))

    async def finish(self) -> None:
        """Waits until everything is written."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("settlement_failed", exc_info=error)

    async def _write(
        self,
        lane: str,
        attempt: Attempt,
        changes: list[Change],
        failed: list[FailedLeg],
        results: list[LegResult],
    ) -> None:
        try:
            if changes:
                await self._persist(lane, changes)
            if failed and not await self._notify(attempt, failed):
                await self._persist(lane, [one.change for one in failed])
        finally:
            if attempt.done is not None and not attempt.done.done():
                attempt.done.set_result(results)

    async def _notify(self, attempt: Attempt, failed: list[FailedLeg]) -> bool:
        """The notice with its moves; retried while the store is in repair, given up where it cannot be written."""
        while True:
            try:
                return await self._parts.notify(attempt, failed)
            except StormsailError as error:
                log.warning("notice_postponed", message=attempt.message.id, why=error.sentence)
                await asyncio.sleep(RETRY_WRITE_S)
            except Exception:
                log.exception("notice_failed", message=attempt.message.id)
                return False

    async def _persist(self, lane: str, changes: list[Change]) -> None:
        """A move whose commit failed is written again: compare-and-set on state and attempt does it once."""
        while True:
            try:
                moves = [self._as_of_now(change) for change in changes]
                await self._parts.ledger.change(moves)
                break
            except StormsailError as error:
                log.warning("move_postponed", why=error.sentence)
                await asyncio.sleep(RETRY_WRITE_S)
        for move in moves:
            if move.due_at is not None:
                self._parts.due(lane, move.due_at)

    def _as_of_now(self, change: Change) -> Change:
        """An event that has ended since the attempt takes nothing more on hold: it would never hand it back."""
        if change.event_id is None or self._parts.active(change.event_id):
            return change
        now = self._parts.clock.now_ms()
        return msgspec.structs.replace(change, happened=DeliveryInput.DEFER, due_at=now, event_id=None)

    def _outcome(self, policy: LanePolicy, attempt: Attempt, leg: Leg, result: LegResult) -> Outcome:
        now = self._parts.clock.now_ms()
        if result.about is None:
            held = result.covered_by is not None and self._parts.active(result.covered_by)
            return Outcome(DeliveryInput.COVER) if held else Outcome(DeliveryInput.DEFER, now)
        if self._back_on_hold(attempt) and result.about is not ReplyClass.TAKEN and not result.in_doubt:
            return Outcome(DeliveryInput.COVER)
        tried = Tried(
            attempt.message.direction,
            policy.to_primary is not None,
            leg.known,
            result.in_doubt,
            leg.attempts,
            leg.first_attempt_at,
            now,
            self._parts.chance(),
        )
        return decide(result.about, tried, policy.schedule)

    def _back_on_hold(self, attempt: Attempt) -> bool:
        """Whether a failure changes nothing: that of a trial, unless its event was ended by force meanwhile."""
        return attempt.trial and attempt.drain_of is not None and self._parts.active(attempt.drain_of)

    def _change(
        self, attempt: Attempt, leg: Leg, result: LegResult, outcome: Outcome, remote: str, took_ms: int
    ) -> Change:
        event = result.covered_by if result.covered_by is not None else attempt.drain_of
        if outcome.happened is not DeliveryInput.COVER:
            event = None
        return Change(
            leg.id,
            DeliveryState.ACTIVE,
            outcome.happened,
            self._parts.clock.now_ms(),
            actor="delivery",
            remote=remote,
            reply=str(result.reply) if result.about is not None else "",
            latency_ms=took_ms,
            due_at=outcome.due_at,
            event_id=event,
            marked=result.in_doubt,
            attempt=leg.attempts,
        )
