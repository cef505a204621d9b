"""`POST /api/v1/messages`: sending, once per Idempotency-Key."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.exceptions import ClientException
from litestar.params import HeaderParameter, JSONBody

from stormsail.domain.errors import NotAllowed
from stormsail.http.sending import check_key, send_once
from stormsail.wire import SendRequest, SentAnswer

from .given import STAFF, Asking, Parts

IdempotencyKey = Annotated[str | None, HeaderParameter(name="Idempotency-Key")]
REPLAYED = "Idempotency-Replayed"
SIZE_LIMIT = 16 << 20
"""Of a request with plain text: decoding it happens between the accepts of mail, and must not keep them waiting."""


def refuse_multipart(request: Request[Any, Any, Any]) -> None:
    """Attachments are for a later version: say so instead of complaining about the JSON."""
    if request.content_type[0].startswith("multipart/"):
        raise ClientException(status_code=415)


@post("/messages", guards=STAFF, tags=["mail"], before_request=refuse_multipart, request_max_body_size=SIZE_LIMIT)
async def send_message(
    data: JSONBody[SendRequest], parts: Parts, principal: Asking, idempotency_key: IdempotencyKey = None
) -> Response[SentAnswer]:
    """Sends a message as a mailbox of one's own. The same key and message again get the same answer, once sent."""
    key = check_key(idempotency_key)
    if principal.account is None:
        raise NotAllowed("Only people with an account send messages; the control socket has none")
    answer, replayed = await send_once(parts, principal.account, key, data)
    headers = {REPLAYED: "true"} if replayed else {}
    return Response(answer, status_code=201, media_type="application/json", headers=headers)  # type: ignore[arg-type]


ROUTES = [send_message]
