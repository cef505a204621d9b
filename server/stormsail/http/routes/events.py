"""Continuity events over the API: start, look, pause, end, report (DESIGN §5). Every deed is audited."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from stormsail.domain.errors import NotAllowed
from stormsail.domain.roles import Role
from stormsail.http.parts import ApiParts
from stormsail.http.reports import show_report
from stormsail.http.shown import parse_id
from stormsail.http.status import show_event
from stormsail.ledger import EventRow
from stormsail.wire import ActivateRequest, EndRequest, Event, EventList, EventReport

from .given import OPERATOR, VIEWER, Asking, PageLimit, Parts, audited

EventState = Annotated[Literal["open", "active", "draining", "closed", "any"], QueryParameter(name="state")]


@post("/events", guards=OPERATOR, tags=["events"])
async def activate(data: JSONBody[ActivateRequest], parts: Parts, principal: Asking) -> Event:
    """Starts an event: from now on mail for its scope is held, and people work here."""
    async with audited(parts, principal, "event.activate", data.scope, data.reason) as deed:
        row = await parts.continuity.activate(data.scope, data.reason, principal.actor)
        deed.detail = f"{row.text_id}: {data.reason}"
    return await show_event(parts, row)


@get("/events", guards=VIEWER, tags=["events"])
async def list_events(parts: Parts, event_state: EventState = "open") -> EventList:
    """Events that are not closed, or those in the state asked for."""
    rows = await parts.reader.events(include_closed=event_state in ("closed", "any"))
    chosen = [row for row in rows if event_state in ("open", "any", row.state)]
    return EventList(events=[await show_event(parts, row) for row in chosen])


@get("/events/{event_id:str}", guards=VIEWER, tags=["events"])
async def read_event(event_id: FromPath[str], parts: Parts) -> Event:
    """One event."""
    return await show_event(parts, await _find(parts, event_id))


@post("/events/{event_id:str}/end", guards=OPERATOR, tags=["events"], status_code=200)
async def end(
    event_id: FromPath[str], parts: Parts, principal: Asking, data: JSONBody[EndRequest | None] = None
) -> Event:
    """Tries a held message per segment, then hands everything back; 409 where the primary still refuses."""
    force = data is not None and data.force
    row = await _find(parts, event_id)
    async with audited(parts, principal, "event.end", row.text_id, "forced" if force else ""):
        ended = await parts.continuity.end(row.id, principal.actor, force)
    return await show_event(parts, ended)


@post("/events/{event_id:str}/pause", guards=OPERATOR, tags=["events"], status_code=200)
async def pause(event_id: FromPath[str], parts: Parts, principal: Asking) -> Event:
    """Stops handing back for a while."""
    row = await _find(parts, event_id)
    async with audited(parts, principal, "event.pause", row.text_id):
        paused = await parts.continuity.pause(row.id, principal.actor)
    return await show_event(parts, paused)


@post("/events/{event_id:str}/resume", guards=OPERATOR, tags=["events"], status_code=200)
async def resume(event_id: FromPath[str], parts: Parts, principal: Asking) -> Event:
    """Goes on handing back."""
    row = await _find(parts, event_id)
    async with audited(parts, principal, "event.resume", row.text_id):
        resumed = await parts.continuity.resume(row.id, principal.actor)
    return await show_event(parts, resumed)


@get("/events/{event_id:str}/report", guards=VIEWER, tags=["events"])
async def read_report(
    event_id: FromPath[str],
    parts: Parts,
    principal: Asking,
    messages: FromQuery[bool] = False,
    after: FromQuery[str | None] = None,
    limit: PageLimit = 200,
) -> EventReport:
    """The event's balance; message by message for operators, where asked for."""
    if messages and not principal.role.includes(Role.OPERATOR):
        raise NotAllowed(f"Messages in a report need the role {Role.OPERATOR}")
    row = await _find(parts, event_id)
    start = parse_id(after, "delivery") if after is not None else 0
    return await show_report(parts, row, start if messages else None, limit)


async def _find(parts: ApiParts, event_id: str) -> EventRow:
    return await parts.reader.event(parse_id(event_id, "event"))


ROUTES = [activate, list_events, read_event, end, pause, resume, read_report]
