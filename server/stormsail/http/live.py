"""A live stream as an HTTP answer: server-sent events with ids, a comment when it is quiet, an end that is said.

In: a reader's place in the hub. Out: bytes, until the reader goes, is too slow, is signed out, or the gateway ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Litestar, Request, Response
from litestar.response.base import ASGIResponse
from litestar.response.sse import ServerSentEventMessage

from stormsail.wire import StreamItem

from .stream_hub import Reader, StreamHub, Subscription

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

QUIET_S = 15.0
SEND_PATIENCE_S = 20.0
RETRY_MS = 2_000
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
HELLO = ServerSentEventMessage(data=None, comment="stormsail", retry=RETRY_MS).encode()
STILL_THERE = ServerSentEventMessage(data=None, comment="").encode()


class LiveStream(Response[None]):
    """What the route answers with."""

    def __init__(self, hub: StreamHub, reader: Reader, after: int | None) -> None:
        super().__init__(None, media_type="text/event-stream", headers=HEADERS)
        self._hub = hub
        self._reader = reader
        self._after = after

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        return _Sending(self._hub, self._reader, self._after)


class _Sending(ASGIResponse):
    _should_set_content_length = False

    def __init__(self, hub: StreamHub, reader: Reader, after: int | None) -> None:
        super().__init__(media_type="text/event-stream", headers=HEADERS)
        self._hub = hub
        self._reader = reader
        self._after = after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Raises Overloaded before anything is sent, so that it is answered like any other error.
        subscription = self._hub.subscribe(self._reader, self._after)
        gone = asyncio.create_task(_until_gone(receive, subscription))
        try:
            await self.start_response(send)
            await _follow(subscription, send)
        except TimeoutError:
            subscription.end("slow")
        finally:
            self._hub.unsubscribe(subscription)
            gone.cancel()


async def _follow(subscription: Subscription, send: Send) -> None:
    """Sends what comes until the stream ends. Raises TimeoutError where the reader takes nothing."""
    await _send(send, HELLO)
    while True:
        items = await subscription.take(QUIET_S)
        if items or not subscription.ended:
            await _send(send, _encode(items) if items else STILL_THERE)
        if subscription.ended:
            break
    await _send(send, b"", more=False)


async def _send(send: Send, body: bytes, more: bool = True) -> None:
    """Raises TimeoutError where the reader takes nothing."""
    await asyncio.wait_for(send({"type": "http.response.body", "body": body, "more_body": more}), SEND_PATIENCE_S)


async def _until_gone(receive: Receive, subscription: Subscription) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    subscription.end("gone")


def _encode(items: Iterable[StreamItem]) -> bytes:
    return b"".join(
        ServerSentEventMessage(data=msgspec.json.encode(item), event=item.kind, id=item.id).encode() for item in items
    )
