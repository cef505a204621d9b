"""The live stream (server-sent events, HTML Living Standard §9.2) and its memory."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromQuery, HeaderParameter, SkipValidation

from stormsail.domain.ids import id_from_text
from stormsail.http.live import LiveStream
from stormsail.http.parts import ApiParts
from stormsail.http.principal import Principal
from stormsail.http.status_feed import StatusFeed
from stormsail.http.stream_hub import Reader
from stormsail.wire import StreamPage

from .given import STAFF, Asking, PageLimit, Parts

Feed = SkipValidation[StatusFeed]
LastEventId = Annotated[str | None, HeaderParameter(name="Last-Event-ID")]


@get("/stream", guards=STAFF, tags=["stream"], media_type="text/event-stream")
async def follow(
    parts: Parts,
    principal: Asking,
    feed: Feed,
    last_event_id: LastEventId = None,
    after: FromQuery[str | None] = None,
) -> LiveStream:
    """What happens, as it happens; from after the id in `Last-Event-ID` or `after`, where it is still kept."""
    seen = last_event_id or after
    feed.wake()
    return LiveStream(parts.hub, reader_for(parts, principal), _number(seen) if seen else None)


@get("/stream/recent", guards=STAFF, tags=["stream"])
async def read_recent(
    parts: Parts, principal: Asking, after: FromQuery[str | None] = None, limit: PageLimit = 1000
) -> StreamPage:
    """Items after that id, or all that are kept; `complete` is false where some before them are missing."""
    items, last, complete = parts.hub.recent(
        reader_for(parts, principal), _number(after) if after is not None else None, limit
    )
    return StreamPage(items=items, next=last, complete=complete)


def reader_for(parts: ApiParts, principal: Principal) -> Reader:
    """What this principal may see: by role, and the changes of the mailboxes that are theirs."""
    account, session = principal.account, principal.session
    address = account.address if account is not None else None
    return Reader(
        principal.actor,
        principal.role,
        lambda mailbox: address is not None and parts.access.may_use(address, mailbox),
        account.id if account is not None else None,
        session.id if session is not None else None,
    )


def _number(text: str) -> int:
    """An id of ours; anything else is as old as can be, which says that items are missing."""
    return id_from_text(text) or 0


ROUTES = [follow, read_recent]
