"""What is going on, live: a bounded memory of the newest items, and readers that follow them.

In: `publish` from the composition root. Out: items by id, and subscriptions that each see what they may see. A
reader that does not keep up is let go instead of buffered for; it comes back with the last id it saw.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from stormsail.clock import Clock, to_rfc3339
from stormsail.domain.errors import Overloaded
from stormsail.domain.ids import IdGenerator, id_to_text
from stormsail.domain.roles import Role
from stormsail.ledger import EventRow
from stormsail.mailstore import CopyChange
from stormsail.wire import Answer, EventChange, MailboxChange, StreamItem, StreamKind

KEPT_ITEMS = 10_000
WAITING_LIMIT = 500
READERS_LIMIT = 5_000
READERS_PER_PERSON = 20
PAGE_LIMIT = 1_000


class Audience(msgspec.Struct, frozen=True):
    """Who may see an item: everybody of that role, and where a mailbox is named only who may read it."""

    role: Role = Role.VIEWER
    mailbox: str | None = None


EVERYBODY = Audience(Role.STAFF)


class Reader(msgspec.Struct, frozen=True):
    """Who follows the stream; `reads` tells for a mailbox key whether its owner or delegate this is."""

    person: str
    role: Role
    reads: Callable[[str], bool]
    account_id: int | None = None
    session_id: int | None = None

    def may_see(self, audience: Audience) -> bool:
        if audience.mailbox is not None:
            return self.reads(audience.mailbox)
        return self.role.includes(audience.role)


class _Kept(msgspec.Struct, frozen=True):
    id: int
    audience: Audience
    item: StreamItem


class Subscription:
    """One reader's place in the stream."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.ended = ""
        """Why no more items come; empty while they do."""
        self._waiting: deque[StreamItem] = deque()
        self._news = asyncio.Event()

    def offer(self, item: StreamItem) -> None:
        """Queues an item; a reader that is too far behind is ended instead."""
        if self.ended:
            return
        if len(self._waiting) >= WAITING_LIMIT:
            self.end("slow")
            return
        self._waiting.append(item)
        self._news.set()

    def end(self, why: str) -> None:
        self.ended = self.ended or why
        self._news.set()

    async def take(self, patience_s: float) -> list[StreamItem]:
        """What has come, waiting up to `patience_s` for it; empty where nothing came or the stream has ended."""
        if not self._waiting and not self.ended:
            try:
                await asyncio.wait_for(self._news.wait(), patience_s)
            except TimeoutError:
                return []
        taken = list(self._waiting)
        self._waiting.clear()
        self._news.clear()
        return taken


class StreamHub:
    """`publish` and everything else on the loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ids = IdGenerator()
        self._forgotten = self._ids.next(clock.now_ms())
        self._kept: deque[_Kept] = deque()
        self._subscriptions: set[Subscription] = set()
        self._closed = asyncio.Event()

    def publish(self, kind: StreamKind, data: Answer | None = None, audience: Audience = EVERYBODY) -> None:
        """Tells everybody who may see it, and remembers it."""
        if self._closed.is_set():
            return
        number = self._ids.next(self._clock.now_ms())
        item = self._item(number, kind, data)
        self._kept.append(_Kept(number, audience, item))
        if len(self._kept) > KEPT_ITEMS:
            self._forgotten = self._kept.popleft().id
        for subscription in list(self._subscriptions):
            if subscription.reader.may_see(audience):
                subscription.offer(item)

    def copy_changed(self, change: CopyChange) -> None:
        """Tells those who may read the mailbox."""
        data = MailboxChange(
            mailbox=change.mailbox, message=id_to_text(change.copy_id), change=change.kind, folder=change.folder
        )
        self.publish("mailbox", data, Audience(mailbox=change.mailbox))

    def event_changed(self, event: EventRow) -> None:
        """Tells viewers what happened to the event, and everybody to look whether they may send."""
        data = EventChange(
            id=event.text_id, scope=str(event.scope), state=event.state, paused=event.paused, reason=event.reason
        )
        self.publish("event", data, Audience(Role.VIEWER))
        self.publish("coverage")

    def recent(self, reader: Reader, after: int | None, limit: int = PAGE_LIMIT) -> tuple[list[StreamItem], str, bool]:
        """Items after an id (or all that are kept), the id to go on from, and whether none before them is missing."""
        start = self._forgotten if after is None else after
        complete = start >= self._forgotten
        seen: list[StreamItem] = []
        last = max(start, self._forgotten)
        for kept in self._kept:
            if kept.id <= start:
                continue
            if len(seen) >= limit:
                break
            last = kept.id
            if reader.may_see(kept.audience):
                seen.append(kept.item)
        return seen, id_to_text(last), complete

    def subscribe(self, reader: Reader, after: int | None) -> Subscription:
        """Follows from now on, or from after an id that the reader saw last. Raises Overloaded."""
        theirs = sum(subscription.reader.person == reader.person for subscription in self._subscriptions)
        if self._closed.is_set() or len(self._subscriptions) >= READERS_LIMIT or theirs >= READERS_PER_PERSON:
            raise Overloaded("Too many streams are open")
        subscription = Subscription(reader)
        if after is not None:
            self._catch_up(subscription, after)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        subscription.end("gone")
        self._subscriptions.discard(subscription)

    def end_for(self, *, account_id: int | None = None, session_id: int | None = None, but: int | None = None) -> None:
        """Ends the streams of an account (but those of the session `but`), or of one session: they sign in anew."""
        for subscription in list(self._subscriptions):
            reader = subscription.reader
            signed_out = session_id is not None and reader.session_id == session_id
            theirs = account_id is not None and reader.account_id == account_id
            changed = theirs and (but is None or reader.session_id != but)
            if signed_out or changed:
                subscription.end("signed out")

    def close(self) -> None:
        """Says `bye` to every reader; nothing comes after."""
        self._closed.set()
        for subscription in list(self._subscriptions):
            subscription.offer(self._item(self._newest(), "bye"))
            subscription.end("bye")

    async def closed_within(self, seconds: float) -> bool:
        """Waits so long for the end; whether it has come."""
        try:
            await asyncio.wait_for(self._closed.wait(), seconds)
        except TimeoutError:
            return False
        return True

    @property
    def readers(self) -> int:
        return len(self._subscriptions)

    def _catch_up(self, subscription: Subscription, after: int) -> None:
        items, _, complete = self.recent(subscription.reader, after, WAITING_LIMIT)
        if not complete or len(items) >= WAITING_LIMIT:
            items = [self._item(self._newest(), "reset")]
        for item in items:
            subscription.offer(item)

    def _newest(self) -> int:
        return self._kept[-1].id if self._kept else self._forgotten

    def _item(self, number: int, kind: StreamKind, data: Answer | None = None) -> StreamItem:
        return StreamItem(id=id_to_text(number), at=to_rfc3339(self._clock.now_ms()), kind=kind, data=data)
