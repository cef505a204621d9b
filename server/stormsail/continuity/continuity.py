"""Starting and ending events, and who is covered meanwhile (DESIGN §5).

In: an operator's word. Out: rows in the ledger, a new `Coverage` for everybody who asks, drains that run until all is
handed back. Only a person ends an event; a drain that meets a sick primary makes it active again by itself.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass

import msgspec
import structlog

from stormsail.clock import MS_PER_DAY, Clock
from stormsail.config import PrimarySettings
from stormsail.delivery import DeliveryQueue
from stormsail.directory import Directory, DirectorySnapshot
from stormsail.domain.errors import BadRequest, Conflict, StormsailError
from stormsail.domain.ids import id_to_text
from stormsail.domain.scope import ActiveEvent, Coverage, Scope, ScopeKind, Subject, parse_scope
from stormsail.ledger import EventRow, Ledger, LedgerReader

from .drain import Drain, DrainEnd, DrainParts
from .pacer import MailboxPacer
from .progress import Progress
from .strays import release_strays
from .trial import refused_first

REFRESH_S = 1.0
STRAYS_S = 60.0
REASON_LIMIT = 500
log = structlog.get_logger()


@dataclass(frozen=True)
class ContinuityParts:
    """What continuity works with. `changed` is called after every change of an event."""

    ledger: Ledger
    reader: LedgerReader
    queue: DeliveryQueue
    directory: Directory
    clock: Clock
    primaries: Callable[[], list[PrimarySettings]]
    changed: Callable[[EventRow], None]


class Continuity:
    """All events. `start` before use."""

    def __init__(self, parts: ContinuityParts) -> None:
        self._parts = parts
        self.coverage = Coverage()
        """What is covered now: an immutable value, replaced as a whole."""
        self._events: dict[int, EventRow] = {}
        self._pinned: dict[int, frozenset[str]] = {}
        self._drains: dict[int, Drain] = {}
        self._progress: dict[int, Progress] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._testing: set[int] = set()
        self.waiting: dict[int, str] = {}
        """Drains that cannot go on for now, and why."""
        self.relapsed: set[int] = set()
        """Events that a sick primary has made active again, until they are ended once more."""

    async def start(self) -> None:
        """Takes up what the ledger says: active events cover, drains go on."""
        for event in await self._parts.reader.events(include_closed=True):
            if event.state != "closed" or self._recently_closed(event):
                self._events[event.id] = event
        for event in self.open_events:
            await self._pin(event.id, self._parts.directory.snapshot)
            if event.state == "active" and "relapsed" in [
                entry.kind for entry in await self._parts.reader.event_entries(event.id)
            ]:
                self.relapsed.add(event.id)
        self._replace_coverage()
        for event in self.open_events:
            if event.state == "draining":
                self._start_drain(event)
        self._spawn(self._keep_progress())
        self._spawn(self._keep_released())

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def look_again(self) -> None:
        """After a store was repaired: an activation or an end of unknown outcome may have happened."""
        self._spawn(self._look_again())

    async def _look_again(self) -> None:
        async with self._changing:
            for event in await self._parts.reader.events():
                if event == self._events.get(event.id):
                    continue
                log.warning("event_found", event_id=event.text_id, state=event.state)
                self._take_up(event)
                if event.state == "draining" and event.id not in self._drains:
                    self._start_drain(event)

    # ── asked ──

    @property
    def open_events(self) -> list[EventRow]:
        """Active and draining events, the oldest first."""
        return [event for _, event in sorted(self._events.items()) if event.state != "closed"]

    def progress(self, event_id: int) -> Progress:
        """How many deliveries the event holds and has handed back, as of a second ago."""
        return self._progress.get(event_id, Progress(0, 0, None, False))

    def may_send(self, mailbox: str) -> bool:
        """Whether an event lets the owner of the mailbox send from here: while it covers or drains, and a day after."""
        entry = self._parts.directory.snapshot.entries.get(mailbox)
        subject = Subject(mailbox, mailbox.rpartition("@")[2], entry.segment if entry is not None else None)
        return any(self._as_active(event).covers(subject) for event in self._events.values() if self._still_open(event))

    def _still_open(self, event: EventRow) -> bool:
        return event.state != "closed" or self._recently_closed(event)

    def _recently_closed(self, event: EventRow) -> bool:
        return event.closed_at is not None and self._parts.clock.now_ms() - event.closed_at < MS_PER_DAY

    # ── operators ──

    async def activate(self, scope_text: str, reason: str, actor: str) -> EventRow:
        """Starts an event. Raises BadRequest for a scope that means nothing, Conflict where one is active already."""
        scope = parse_scope(scope_text)
        self._check_scope(scope)
        async with self._changing:
            for event in self.open_events:
                if event.scope == scope and event.state == "active":
                    raise Conflict(f"An event over {scope} is active already: {event.text_id}")
            event = EventRow(
                self._parts.ledger.reserve(0),
                scope,
                reason[:REASON_LIMIT],
                "active",
                self._parts.clock.now_ms(),
                actor,
                None,
                None,
                None,
                False,
            )
            await self._parts.ledger.start_event(event)
            self._take_up(event)
        log.warning("event_activated", event_id=event.text_id, scope=str(scope), actor=actor)
        return event

    async def end(self, event_id: int, actor: str, force: bool) -> EventRow:
        """Begins to hand back. Raises Conflict where the primary refuses one of the messages tried first."""
        if not force:
            await self._test(event_id)
        async with self._changing:
            event = self._active(event_id)
            ended = msgspec.structs.replace(
                event, state="draining", ended_at=self._parts.clock.now_ms(), ended_by=actor, paused=False
            )
            how = "without a test" if force else "after a test"
            await self._parts.ledger.update_event(ended, "ended", actor, how, self._parts.clock.now_ms())
            self.relapsed.discard(event_id)
            self._take_up(ended)
            self._start_drain(ended)
        log.warning("event_ended", event_id=ended.text_id, actor=actor, forced=force)
        return ended

    async def pause(self, event_id: int, actor: str) -> EventRow:
        """Halts a drain. Raises Conflict where there is none."""
        return await self._set_paused(event_id, actor, True)

    async def resume(self, event_id: int, actor: str) -> EventRow:
        """Lets a halted drain go on."""
        return await self._set_paused(event_id, actor, False)

    async def _set_paused(self, event_id: int, actor: str, paused: bool) -> EventRow:
        async with self._changing:
            event = self._event(event_id)
            drain = self._drains.get(event_id)
            if event.state != "draining" or drain is None:
                raise Conflict("The event is not handing mail back")
            changed = msgspec.structs.replace(event, paused=paused)
            kind = "paused" if paused else "resumed"
            await self._parts.ledger.update_event(changed, kind, actor, "", self._parts.clock.now_ms())
            if paused:
                drain.pause()
            else:
                drain.resume()
            self._take_up(changed)
            return changed

    def _check_scope(self, scope: Scope) -> None:
        """A scope that covers nobody is a slip of the hand."""
        snapshot = self._parts.directory.snapshot
        known: list[str] = []
        match scope.kind:
            case ScopeKind.ALL:
                return
            case ScopeKind.DOMAIN:
                known = list(snapshot.domains)
            case ScopeKind.SEGMENT:
                known = sorted({entry.segment for entry in snapshot.entries.values() if entry.segment is not None})
            case ScopeKind.MAILBOX:
                known = list(snapshot.entries)
        if scope.name not in known:
            near = difflib.get_close_matches(scope.name, known, 1, 0.5)
            hint = f", did you mean {near[0]}?" if near else ""
            raise BadRequest(f"There is no {scope.kind.value} {scope.name!r} here{hint}")

    async def _test(self, event_id: int) -> None:
        """Before an end; one at a time, since a second would find the messages of the first gone and let all go."""
        event = self._active(event_id)
        if event_id in self._testing:
            raise Conflict("The event is being ended already: its first messages are being tried")
        self._testing.add(event_id)
        try:
            parts = self._parts
            refusal = await refused_first(event.id, parts.reader, parts.queue, parts.directory.snapshot, self.coverage)
        finally:
            self._testing.discard(event_id)
        if refusal:
            self._active(event_id)
            raise Conflict(f"The primary does not take mail yet{refusal}; the event goes on")

    # ── coverage ──

    def directory_changed(self, old: DirectorySnapshot, new: DirectorySnapshot) -> None:
        """Called as the directory is replaced: whoever leaves a scope stays covered while mail of theirs is held."""
        for event in self.open_events:
            if event.state != "active":
                continue
            before, after = self._as_active(event), ActiveEvent(event.id, event.scope)
            leaving = {
                entry.address
                for entry in old.entries.values()
                if before.covers(_subject(old, entry.address)) and not after.covers(_subject(new, entry.address))
            }
            self._pinned[event.id] = frozenset(leaving)
            if leaving:
                self._spawn(self._pin(event.id, new))
        self._replace_coverage()

    async def _pin(self, event_id: int, snapshot: DirectorySnapshot) -> None:
        """Keeps exactly those outside of the scope who have mail held by the event."""
        event = self._events[event_id]
        scope_only = ActiveEvent(event.id, event.scope)
        held = await self._parts.reader.held_mailboxes(event_id)
        outside = {mailbox for mailbox in held if mailbox and not scope_only.covers(_subject(snapshot, mailbox))}
        self._pinned[event_id] = frozenset(outside)
        self._replace_coverage()

    def _as_active(self, event: EventRow) -> ActiveEvent:
        return ActiveEvent(event.id, event.scope, self._pinned.get(event.id, frozenset()))

    def _replace_coverage(self) -> None:
        active = tuple(self._as_active(event) for event in self.open_events if event.state == "active")
        self.coverage = Coverage(self.coverage.generation + 1, active)

    def _take_up(self, event: EventRow) -> None:
        self._events[event.id] = event
        self._replace_coverage()
        self._parts.changed(event)

    def _active(self, event_id: int) -> EventRow:
        event = self._event(event_id)
        if event.state != "active":
            raise Conflict(f"The event is {event.state} already")
        return event

    def _event(self, event_id: int) -> EventRow:
        event = self._events.get(event_id)
        if event is None or event.state == "closed":
            raise Conflict("The event is closed, or there never was one with that id")
        return event

    # ── drains ──

    def _start_drain(self, event: EventRow) -> None:
        settings = [primary.drain for primary in self._parts.primaries()]
        limit = min((one.messages_per_mailbox_hour or 1 << 40 for one in settings), default=0)
        parts = DrainParts(
            self._parts.ledger,
            self._parts.reader,
            self._parts.queue,
            self._parts.clock,
            lambda: self.coverage,
            MailboxPacer(0 if limit == 1 << 40 else limit),
            max((one.connections for one in settings), default=1),
        )
        drain = Drain(event.id, parts)
        if event.paused:
            drain.pause()
        self._drains[event.id] = drain
        self._spawn(self._run_drain(event.id, drain))

    async def _run_drain(self, event_id: int, drain: Drain) -> None:
        """Runs a drain to its end and writes down how it ended; a store in repair is waited for."""
        end: DrainEnd | None = None
        while True:
            try:
                if end is None:
                    end = await drain.run()
                self.waiting.pop(event_id, None)
                if await self._finish(event_id, end):
                    return
                end = None
                continue
            except* StormsailError as errors:
                self._note_wait(event_id, str(errors.exceptions[0]))
            except* Exception as errors:
                log.error("drain_failed", event_id=id_to_text(event_id), exc_info=errors)
            await asyncio.sleep(REFRESH_S)

    def _note_wait(self, event_id: int, why: str) -> None:
        if self.waiting.get(event_id) != why:
            log.warning("drain_waits", event_id=id_to_text(event_id), why=why)
        self.waiting[event_id] = why

    async def _finish(self, event_id: int, end: DrainEnd) -> bool:
        """False where mail planned before the end has got its rows only after the drain's last look: it goes on."""
        async with self._changing:
            now = self._parts.clock.now_ms()
            event = self._events[event_id]
            if end is DrainEnd.DONE:
                changed = msgspec.structs.replace(event, state="closed", closed_at=now)
                kind, detail = "closed", "nothing is held any more"
            else:
                changed = msgspec.structs.replace(event, state="active", ended_at=None, ended_by=None)
                kind, detail = "relapsed", "more than 2 % of the last attempts failed: active again"
            await self._refresh(event_id, drain=None)
            if end is DrainEnd.RELAPSE:
                await self._parts.ledger.update_event(changed, kind, "gateway", detail, now)
            elif not await self._parts.ledger.close_event(changed, detail, now):
                return False
            self._drains.pop(event_id, None)
            self._take_up(changed)
            if changed.state == "active":
                self.relapsed.add(event_id)
                await self._pin(event_id, self._parts.directory.snapshot)
        log.warning("event_" + kind, event_id=changed.text_id)
        return True

    async def _keep_released(self) -> None:
        """Looks now and then whether a closed event holds mail, which only an older version or a fault leaves so."""
        while True:
            try:
                if await release_strays(self._parts.ledger, self._parts.reader, self._parts.clock):
                    await self._parts.queue.look_again()
            except StormsailError as error:
                log.warning("strays_not_released", why=error.sentence)
            await asyncio.sleep(STRAYS_S)

    async def _keep_progress(self) -> None:
        """Counts held and handed-back deliveries of open events once a second, for whoever asks."""
        while True:
            try:
                for event in self.open_events:
                    await self._refresh(event.id, self._drains.get(event.id))
            except StormsailError as error:
                log.warning("progress_not_counted", why=error.sentence)
            await asyncio.sleep(REFRESH_S)

    async def _refresh(self, event_id: int, drain: Drain | None) -> None:
        held = await self._parts.reader.held_count(event_id)
        tally = await self._parts.reader.event_tally(event_id)
        eta = drain.pace.eta_s(held, self._parts.clock.now_ms()) if drain is not None else None
        paused = drain is not None and drain.paused
        self._progress[event_id] = Progress(held, tally.get("relayed", 0), None if paused else eta, paused)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("continuity_task_failed", exc_info=error)


def _subject(snapshot: DirectorySnapshot, mailbox: str) -> Subject:
    entry = snapshot.entries.get(mailbox)
    return Subject(mailbox, mailbox.rpartition("@")[2], entry.segment if entry is not None else None)
