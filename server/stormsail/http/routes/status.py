"""`GET /api/v1/status`."""

from __future__ import annotations

from typing import Literal

from litestar import get
from litestar.params import FromQuery

from stormsail.wire import Status

from stormsail.http.status import make_status
from .given import VIEWER, Parts


@get("/status", guards=VIEWER, tags=["status"])
async def read_status(parts: Parts, state: FromQuery[Literal["open", "any"]] = "open") -> Status:
    """Verdicts, events, queue, directory and the gateway's own health; closed events with `state=any`."""
    return await make_status(parts, any_state=state == "any")


ROUTES = [read_status]
