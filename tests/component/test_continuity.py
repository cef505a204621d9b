"""The end of an event: it closes when it holds nothing, and nothing stays on hold by a closed one (DESIGN §5)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import msgspec
import pytest

from stormsail.continuity import Continuity, ContinuityParts
from stormsail.delivery import DeliveryQueue, LegResult
from stormsail.directory import Directory, DomainRule
from stormsail.domain.errors import Conflict, OutcomeUnknown
from stormsail.domain.replies import ReplyClass, Stage
from stormsail.domain.reply import Reply
from stormsail.domain.scope import Scope, ScopeKind, Subject
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import DeliveryRow, EventRow
from stormsail.store import Place
from testkit.open_ledger import OpenLedger, open_ledger
from testkit.waiting import eventually

S, H = DeliveryState, DeliveryInput
ANN = Subject("ann@example.com", "example.com", None)


class Lanes:
    """In place of the delivery queue: a primary that takes what is tried, when the test lets it answer."""

    def __init__(self, opened: OpenLedger) -> None:
        self._opened = opened
        self.answers = asyncio.Event()
        self.answers.set()
        self.tried: list[int] = []
        self.looks = 0

    async def try_held(self, row: DeliveryRow, event_id: int, *, trial: bool) -> LegResult | None:
        if not await self._opened.move(row.id, S.HELD, H.START):
            return None
        self.tried.append(row.message_id)
        await self.answers.wait()
        assert await self._opened.move(row.id, S.ACTIVE, H.TAKE_BY_PRIMARY)
        return LegResult(ReplyClass.TAKEN, Reply(250, "2.0.0", "ok"), Stage.DOT)

    async def look_again(self) -> None:
        self.looks += 1


class Scene:
    """An open ledger with continuity over it."""

    def __init__(self, opened: OpenLedger, directory: Directory) -> None:
        self.opened = opened
        self.lanes = Lanes(opened)
        queue = cast("DeliveryQueue", self.lanes)
        self.continuity = Continuity(
            ContinuityParts(opened.ledger, opened.reader, queue, directory, opened.clock, list, lambda event: None)
        )

    async def hold(self) -> int:
        """Accepts a message as the intake plans it now; gives its id when it is safe, its rows may follow."""
        acceptance = self.opened.acceptance(state=S.HELD)
        event = self.continuity.coverage.event_for(ANN)
        assert event is not None
        acceptance.deliveries = [msgspec.structs.replace(one, kept_by=event) for one in acceptance.deliveries]
        await self.opened.keep(acceptance, b"x")
        return acceptance.id

    async def until_closed(self) -> None:
        await eventually(lambda: not self.continuity.open_events, "the event to close")


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    async with open_ledger(folder / "data") as opened:
        directory = Directory(folder, opened.clock, [DomainRule("example.com", "exchange", "verify")], None)
        await directory.start()
        running = Scene(opened, directory)
        try:
            yield running
        finally:
            await running.continuity.stop()
            await directory.stop()


def keep_waiting_until_the_drain_has_looked(opened: OpenLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages become safe only then; changes that were asked for before them go on."""
    looked = threading.Event()
    keep, held_mailboxes = opened.bodies.keep, opened.reader.held_mailboxes

    def later(day: str, data: bytes) -> Place:
        assert looked.wait(20)
        return keep(day, data)

    async def look(event_id: int) -> list[str]:
        found = await held_mailboxes(event_id)
        looked.set()
        return found

    monkeypatch.setattr(opened.bodies, "keep", later)
    monkeypatch.setattr(opened.reader, "held_mailboxes", look)


def test_mail_planned_as_the_event_ends_is_handed_back_before_it_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), scene(tmp_path) as here:
            await here.continuity.start()
            event = await here.continuity.activate("all", "test", "op")
            keep_waiting_until_the_drain_has_looked(here.opened, monkeypatch)
            ending = asyncio.create_task(here.continuity.end(event.id, "op", force=True))
            await asyncio.sleep(0)
            number = await here.hold()
            await ending
            await here.until_closed()
            assert here.lanes.tried == [number]
            assert (await here.opened.only(number)).state is S.RELAYED
            assert here.opened.problems() == []

    asyncio.run(story())


def test_a_second_end_does_not_overtake_the_test_of_the_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), scene(tmp_path) as here:
            await here.continuity.start()
            event = await here.continuity.activate("all", "test", "op")
            number = await here.hold()
            await here.opened.ledger.verify_ownership()
            here.lanes.answers.clear()
            first = asyncio.create_task(here.continuity.end(event.id, "op", force=False))
            await eventually(lambda: here.lanes.tried == [number], "the test")
            with pytest.raises(Conflict, match="being ended already"):
                await here.continuity.end(event.id, "op", force=False)
            assert here.continuity.coverage.event_for(ANN) == event.id
            here.lanes.answers.set()
            await first
            await here.until_closed()

    asyncio.run(story())


def test_what_a_closed_event_holds_is_named_by_the_proof_and_queued_at_the_start(tmp_path: Path) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), scene(tmp_path) as here:
            opened = here.opened
            closed = EventRow(opened.ledger.reserve(0), Scope(ScopeKind.ALL), "", "closed", 1, "op", 2, "op", 3, False)
            await opened.ledger.start_event(closed)
            acceptance = opened.acceptance("ann@example.com", "stranger@example.com", state=S.HELD)
            acceptance.deliveries = [
                msgspec.structs.replace(acceptance.deliveries[0], kept_by=closed.id),
                msgspec.structs.replace(acceptance.deliveries[1], kept_by=closed.id, mailbox=None),
            ]
            await opened.keep(acceptance, b"x")
            by_a_person = await opened.accept(state=S.HELD)
            assert [one.rpartition(": ")[2] for one in opened.problems()] == [
                f"held by the closed event {closed.text_id}"
            ] * 2
            await here.continuity.start()
            await eventually(lambda: here.lanes.looks, "the schedule to be asked to look")
            assert [row.state for row in await opened.reader.deliveries(acceptance.id)] == [S.QUEUED, S.QUEUED]
            assert (await opened.only(by_a_person)).state is S.HELD
            assert opened.problems() == []

    asyncio.run(story())


def test_an_activation_and_an_end_that_happened_though_the_store_failed_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with asyncio.timeout(30), scene(tmp_path) as here:
            await here.continuity.start()
            ledger = here.opened.ledger
            for name in ("start_event", "update_event"):
                monkeypatch.setattr(ledger, name, happens_but_is_not_known(getattr(ledger, name)))
            with pytest.raises(OutcomeUnknown):
                await here.continuity.activate("all", "test", "op")
            assert not here.continuity.open_events
            here.continuity.look_again()
            await eventually(lambda: here.continuity.coverage.event_for(ANN), "the cover")
            [event] = here.continuity.open_events
            await here.hold()
            with pytest.raises(OutcomeUnknown):
                await here.continuity.end(event.id, "op", force=True)
            here.continuity.look_again()
            await here.until_closed()
            assert len(here.lanes.tried) == 1

    asyncio.run(story())


def happens_but_is_not_known(work: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(*arguments: object) -> None:
        await work(*arguments)
        raise OutcomeUnknown("The store failed while the change was being made")

    return run
