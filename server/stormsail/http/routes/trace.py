"""`GET /api/v1/trace`: everything that happened to a message, and its header (never its body)."""

from __future__ import annotations

from litestar import Response, get
from litestar.params import FromPath, FromQuery

from stormsail.domain.errors import BadRequest
from stormsail.http.shown import parse_id
from stormsail.http.traces import find_messages, read_header, trace_message
from stormsail.wire import Trace

from .given import OPERATOR, PageLimit, Parts


@get("/trace", guards=OPERATOR, tags=["trace"])
async def read_trace(parts: Parts, q: FromQuery[str], limit: PageLimit = 20) -> Trace:
    """Messages by our id, Message-ID, address or subject words, the newest first, every step of each delivery."""
    query = q.strip()
    if not query:
        raise BadRequest("Say what to look for: an id, a Message-ID, an address, words of the subject")
    found = await find_messages(parts, query, limit + 1)
    return Trace(
        query=query,
        messages=[await trace_message(parts, message) for message in found[:limit]],
        more=len(found) > limit,
    )


@get("/trace/{message_id:str}/header", guards=OPERATOR, tags=["trace"], media_type="text/plain")
async def read_message_header(message_id: FromPath[str], parts: Parts) -> Response[bytes]:
    """The message's header as it goes on, our trace fields first."""
    message = await parts.reader.message(parse_id(message_id, "message"))
    return Response(await read_header(parts, message), media_type="text/plain")


ROUTES = [read_trace, read_message_header]
