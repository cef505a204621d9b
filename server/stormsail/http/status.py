"""How things stand, gathered: what `GET /api/v1/status`, `/metrics` and the live stream say.

In: the parts. Out: a `Status`. Reads only.
"""

from __future__ import annotations

from stormsail import __version__
from stormsail.clock import to_rfc3339
from stormsail.continuity import Progress
from stormsail.directory import EntryKind
from stormsail.domain.ids import id_to_text
from stormsail.domain.states import FINAL, OPEN
from stormsail.ledger import EventRow
from stormsail.wire import Alert, DirectoryState, Event, QueueCounts, Readiness, Status, Totals

from .parts import ApiParts
from .shown import optional_time


async def make_status(parts: ApiParts, *, any_state: bool = False) -> Status:
    """Everything at a glance; events that are closed only where `any_state` asks for them."""
    now = parts.clock.now_ms()
    tally = await parts.reader.tally()
    events = await parts.reader.events(any_state)
    summary = parts.directory.summary()
    return Status(
        version=__version__,
        hostname=parts.settings().server.hostname,
        at=to_rfc3339(now),
        uptime_s=max(0, now - parts.started_at) // 1000,
        verdicts=list(parts.verdicts()),
        events=[await show_event(parts, event) for event in events],
        queue=await _queue_counts(parts, tally, now),
        totals=make_totals(tally),
        directory=DirectoryState(mailboxes=summary.mailboxes, segments=summary.segments, age_s=summary.age_s),
        alerts=[*parts.alerts(), *_shielded_alert(tally.get("shielded", 0), now)],
        readiness=await _readiness(parts),
        own_health=list(await parts.own_health()),
    )


async def show_event(parts: ApiParts, row: EventRow) -> Event:
    """An event with how far it has come."""
    progress = parts.continuity.progress(row.id)
    if row.state == "closed":
        tally = await parts.reader.event_tally(row.id)
        progress = Progress(0, tally.get("relayed", 0), None, False)
    return Event(
        id=id_to_text(row.id),
        scope=str(row.scope),
        state=row.state,
        started_at=to_rfc3339(row.started_at),
        started_by=row.started_by,
        reason=row.reason,
        held=progress.held,
        handed_back=progress.handed_back,
        eta_s=progress.eta_s,
        paused=row.paused,
        ended_at=optional_time(row.ended_at),
        ended_by=row.ended_by,
        closed_at=optional_time(row.closed_at),
    )


def make_totals(tally: dict[str, int]) -> Totals:
    """Deliveries by final state, and all of them."""
    return Totals(accepted=sum(tally.values()), **{state.value: tally.get(state, 0) for state in FINAL})


async def _queue_counts(parts: ApiParts, tally: dict[str, int], now: int) -> QueueCounts:
    oldest = await parts.reader.oldest_open()
    age_s = None if oldest is None else max(0, now - oldest) // 1000
    return QueueCounts(oldest_age_s=age_s, **{state.value: tally.get(state, 0) for state in OPEN})


def _shielded_alert(count: int, now: int) -> list[Alert]:
    """What the primary refused for mailboxes that are known wants a person's eye (DESIGN §3.8)."""
    if not count:
        return []
    words = f"The primary refuses {count} deliveries for mailboxes that are known: stormsail queue --state shielded"
    return [Alert(id="shielded", at=to_rfc3339(now), severity="ticket", statement=words)]


async def _readiness(parts: ApiParts) -> Readiness:
    entries = parts.directory.snapshot.entries.values()
    people = sum(entry.kind is EntryKind.MAILBOX for entry in entries)
    addresses = await parts.accounts.can_sign_in()
    ready = {entry.address for entry in map(parts.access.own, addresses) if entry is not None}
    return Readiness(people=people, can_sign_in=len(ready), push_proven=0)
