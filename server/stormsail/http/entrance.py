"""The outermost step of every request: the path as it was meant, patience with bodies, safe headers, log and count.

In: any ASGI app. Out: the same behind this. A slash inside a path segment (`a%2Fb@example.com`) stays in its segment
as `%2F`. A body that stops coming ends the request.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any
from urllib.parse import unquote

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from stormsail.domain.reply import escape

from .metrics import Metrics
from .principal import Principal

log = structlog.get_logger()

BODY_PATIENCE_S = 60.0
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CLOSED_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")
NOT_KEPT = (b"cache-control", b"no-store")
SLASH = "%2F"
QUIET_METHODS = frozenset({"GET", "HEAD"})


class Entrance:
    """Wraps the API's app."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        scope["path"] = segments_kept(scope["raw_path"])
        started = time.perf_counter()
        status = 0

        async def dress(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = dressed(list(message["headers"]))
            await send(message)

        try:
            await self._app(scope, patient(receive), dress)
        finally:
            self._note(scope, status, time.perf_counter() - started)

    def _note(self, scope: HTTPScope, status: int, seconds: float) -> None:
        # Only the template is noted: paths hold addresses, queries hold what people search for.
        template = str(scope.get("path_template", "")) or "unknown"
        self._metrics.count_request(scope["method"], template, status)
        user: Any = scope.get("user")
        actor = escape(user.actor) if isinstance(user, Principal) else None
        quiet = scope["method"] in QUIET_METHODS and status < 500
        note = log.debug if quiet else log.info
        note("request", method=scope["method"], path=template, status=status, actor=actor, ms=round(seconds * 1000, 1))


def segments_kept(raw_path: bytes) -> str:
    """The decoded path, in which slashes that were written `%2F` are still that."""
    segments = raw_path.partition(b"?")[0].decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("/", SLASH) for segment in segments)


def dressed(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with those that every answer has, and the strictest policy where a route set none."""
    names = {name.lower() for name, _ in headers}
    headers += SAFE_HEADERS
    if CLOSED_POLICY[0] not in names:
        headers.append(CLOSED_POLICY)
    if NOT_KEPT[0] not in names:
        headers.append(NOT_KEPT)
    return headers


def patient(receive: Receive) -> Receive:
    """`receive` that waits for a body only so long; once the body is there, it waits for the disconnect as ever."""
    complete = False

    async def wait() -> Any:
        nonlocal complete
        if complete:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), BODY_PATIENCE_S)
        except TimeoutError:
            return {"type": "http.disconnect"}
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return wait
