"""`GET /api/v1/status`."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import get
from litestar.params import QueryParameter

from stormsail.http.status import make_status
from stormsail.wire import Status

from .given import VIEWER, Parts

EventState = Annotated[Literal["open", "any"], QueryParameter(name="state")]


@get("/status", guards=VIEWER, tags=["status"])
async def read_status(parts: Parts, event_state: EventState = "open") -> Status:
    """Verdicts, events, queue, directory and the gateway's own health; closed events with `state=any`."""
    return await make_status(parts, any_state=event_state == "any")


ROUTES = [read_status]
