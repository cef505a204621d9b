"""Accepting a message (DESIGN §2, §3): the rules that need its bytes, the plan for each recipient, the ledger.

In: an `Incoming` with its body. Out: `Accepted` once everything is on stable storage. Fails with the error that
tells the peer why: LoopDetected, UntrustedPeer, StorageFull, OutcomeUnknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
import structlog

from stormsail.clock import Clock, to_day, to_rfc5322
from stormsail.domain.errors import LoopDetected, Overloaded, StorageFull, StormsailError
from stormsail.domain.ids import id_to_text
from stormsail.domain.routing import Direction, RecipientKind, Route, outward_lane, primary_lane, route
from stormsail.domain.scope import Coverage
from stormsail.domain.states import DeliveryState
from stormsail.ledger import Acceptance, Change, Ledger, LedgerReader, MessageFlag, PlannedDelivery
from stormsail.mail.trace import received_line, trace_line
from stormsail.store import BodyRef, free_bytes

from .body import ReceivedBody
from .connector import ConnectorRule
from .recipients import ResolvedRecipient
from .repeats import Repeats, Session, fingerprint
from .sent_copies import sent_copy_author

NOT_HANDED_ON = frozenset({DeliveryState.DROPPED, DeliveryState.REFUSED, DeliveryState.BOUNCED, DeliveryState.EXPIRED})
RECEIVED_LIMIT = 100
PASSES_LIMIT = 2
OWN_PASSES_LIMIT = 20
UNRECORDED_LIMIT = 20_000
ORIGINAL_ROUNDS = 5
log = structlog.get_logger()


class Incoming(msgspec.Struct):
    """A message at the end of its DATA, or one written here."""

    direction: Direction
    peer: str
    helo: str
    protocol: str
    """The word after `with` in Received: ESMTP, ESMTPS (RFC 3848)."""
    tls: str
    reverse_path: str
    recipients: list[ResolvedRecipient]
    session: Session | None = None
    """The connection that our reply goes to; None where there is none that could lose it."""
    author: str | None = None


class Accepted(msgspec.Struct, frozen=True):
    """A message that is ours now."""

    id: int
    fingerprints: tuple[tuple[bytes, int], ...]
    """What `Intake.confirm` or `Intake.orphan` wants back: fingerprints with the id they stand under."""
    repeat_of: int | None = None


Told = Callable[[Accepted | StormsailError], None]


class Keeping(msgspec.Struct, frozen=True):
    """A message that nothing speaks against; fingerprints and the originals of repeats are one for each recipient."""

    incoming: Incoming
    body: ReceivedBody
    prints: list[bytes]
    """Empty where no reply can be lost."""
    originals: list[int | None]
    ref: BodyRef | None = None
    changes: list[Change] = []


@dataclass(frozen=True)
class IntakeParts:
    """What the intake works with. `start_now` says whether an attempt on that lane may begin at once;
    `on_accepted` is called when the message is durable, whoever still waits for it."""

    hostname: str
    secret: bytes
    data_dir: Path
    disk_reserve: int
    smarthost: bool
    clock: Clock
    ledger: Ledger
    reader: LedgerReader
    repeats: Repeats
    coverage: Callable[[], Coverage]
    start_now: Callable[[str, int], bool]
    on_accepted: Callable[[Acceptance, bytes | None, BodyRef], None]
    is_mailbox: Callable[[str], str | None]
    connector: ConnectorRule


class Intake:
    """The one way in."""

    def __init__(self, parts: IntakeParts) -> None:
        self._parts = parts
        self._date = (0, "")
        self._room = (-1.0, True)

    def check_room(self) -> None:
        """Raises StorageFull or Overloaded where no mail can be taken now. Asks the disk at most every 0.2 s."""
        parts = self._parts
        if not parts.ledger.writer.healthy:
            raise Overloaded("The store is being repaired, please try again shortly")
        if parts.ledger.writer.backlog > UNRECORDED_LIMIT:
            raise Overloaded("The ledger does not keep up, please try again shortly")
        now = parts.clock.monotonic()
        asked, room = self._room
        if now - asked > 0.2 or now < asked:
            room = free_bytes(parts.data_dir) > parts.disk_reserve
            self._room = (now, room)
        if not room:
            raise StorageFull("There is no room for mail here now, please try again later")

    def take_at_once(self, incoming: Incoming, body: ReceivedBody, told: Told) -> bool:
        """Takes a message that has to wait for the disk only; `told` is called on the loop with what became of it.

        False where more must be waited for, a large body or a look into the ledger: nothing was done, `take` does it.
        """
        if body.spooled is not None or body.facts.passes:
            return False
        prints = _prints(incoming, body)
        if any(self._parts.repeats.original_of(print_) is not None for print_ in prints):
            return False
        self._check_origin(incoming, body)
        self._keep(Keeping(incoming, body, prints, [None] * len(prints)), told)
        return True

    async def take(self, incoming: Incoming, body: ReceivedBody, changes: list[Change] | None = None) -> Accepted:
        """Keeps the message and says so when it is durable; `changes` are done in the same commit or not at all."""
        try:
            self._check_origin(incoming, body)
            await self._check_loops(incoming, body)
            ref = await self._finish_spool(body)
        except StormsailError:
            if body.spooled is not None:
                body.spooled.discard()
            raise
        prints = _prints(incoming, body) if incoming.session is not None else []
        originals = await self._originals(incoming, prints)
        kept: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        accepted = self._keep(Keeping(incoming, body, prints, originals, ref, changes or []), partial(_pass_on, kept))
        try:
            return await kept
        except asyncio.CancelledError:
            self.orphan(accepted)
            raise

    def confirm(self, accepted: Accepted) -> None:
        """The peer went on after our 250: an equal message from now on is a new one."""
        for print_, message_id in accepted.fingerprints:
            self._parts.repeats.close((print_,), message_id)
        self._parts.ledger.confirm(accepted.fingerprints)

    def orphan(self, accepted: Accepted) -> None:
        """The peer is gone and may not have our 250."""
        for print_, message_id in accepted.fingerprints:
            self._parts.repeats.orphan((print_,), message_id)

    # ── rules ──

    def _check_origin(self, incoming: Incoming, body: ReceivedBody) -> None:
        """What a message's own header must not say, or must."""
        if incoming.direction is Direction.CONNECTOR:
            self._parts.connector.check_message(incoming.peer, body.facts)
        if body.facts.received > RECEIVED_LIMIT:
            raise LoopDetected(f"The message has passed more than {RECEIVED_LIMIT} hosts")

    async def _check_loops(self, incoming: Incoming, body: ReceivedBody) -> None:
        """DESIGN §3.6: no third time by the same door for the same recipient."""
        facts = body.facts
        passes = dict.fromkeys(facts.passes)
        if len(passes) > OWN_PASSES_LIMIT:
            raise LoopDetected("The message has passed us too often")
        earlier = [passed.message_id for passed in passes if passed.direction is incoming.direction]
        if not earlier:
            return
        await self._parts.ledger.verify_ownership()  # so that even the last moment's messages have their rows
        seen: dict[str, int] = {}
        for message_id in earlier:
            for delivery in await self._parts.reader.deliveries(message_id):
                seen[delivery.recipient.lower()] = seen.get(delivery.recipient.lower(), 0) + 1
        for recipient in incoming.recipients:
            back_home = incoming.direction is Direction.CONNECTOR and recipient.kind is RecipientKind.OURS
            limit = 1 if back_home else PASSES_LIMIT
            if seen.get(recipient.address.lower(), 0) >= limit:
                log.warning("loop_ended", door=incoming.direction.value, first=id_to_text(earlier[-1]))
                raise LoopDetected("The message is going in circles")

    async def _finish_spool(self, body: ReceivedBody) -> BodyRef | None:
        if body.spooled is None:
            return None
        day = to_day(self._parts.clock.now_ms())
        try:
            return await asyncio.to_thread(body.spooled.finish, day)
        except OSError as error:
            raise StorageFull(f"The message cannot be kept: {error.strerror}") from error

    # ── the ledger ──

    def _keep(self, keeping: Keeping, told: Told) -> Accepted:
        """Hands the message to the ledger; nothing is awaited from here on, so that ids are in commit order."""
        parts, incoming, body = self._parts, keeping.incoming, keeping.body
        prints, originals = keeping.prints, keeping.originals
        now = parts.clock.now_ms()
        planned = [
            self._plan(incoming, one, body.size, originals[at] if originals else None)
            for at, one in enumerate(incoming.recipients)
        ]
        message_id = parts.ledger.reserve(len(planned))
        fresh = [print_ for print_, original in zip(prints, originals, strict=True) if original is None]
        author = self._author(incoming, body)
        acceptance = Acceptance(
            message_id, incoming.direction, incoming.reverse_path, now, incoming.peer, incoming.helo, incoming.tls,
            author, self._flags(incoming, body, author), self._head(incoming, message_id, now),
            planned, fresh, body.size,
        )  # fmt: skip
        parts.repeats.open(fresh, message_id, incoming.session)
        if body.spooled is not None:
            body.spooled.hand_over()
        stands_under = tuple(
            (print_, message_id if original is None else original)
            for print_, original in zip(prints, originals, strict=True)
        )
        accepted = Accepted(message_id, stands_under, _first(originals))

        def settled(durable: BodyRef | None) -> None:
            try:
                if durable is not None:
                    parts.on_accepted(acceptance, body.content, durable)
            finally:
                told(accepted)  # it is durable: whatever fails here, the peer must not wait for ever

        def failed(error: StormsailError) -> None:
            try:
                self._not_kept(fresh, message_id, keeping.ref)
            finally:
                told(error)

        parts.ledger.accept(acceptance, body.content, keeping.ref, settled, failed, keeping.changes)
        return accepted

    async def _originals(self, incoming: Incoming, prints: list[bytes]) -> list[int | None]:
        """For each recipient the accept that this message repeats; one that was given up or refused is none.

        Nor is one without rows: it could not be kept. While the ledger is asked, an accept may fail and its fingerprint
        go, or stand under another id; so the fingerprints are looked up again after each wait. What is not known even
        after `ORIGINAL_ROUNDS` is a new message, which loses nothing.
        """
        kept_for: dict[int, set[str]] = {}
        for _ in range(ORIGINAL_ROUNDS):
            unknown = {original for original in self._in_doubt(prints) if original is not None} - kept_for.keys()
            if not unknown:
                break
            await self._parts.ledger.verify_ownership()  # what is safe in the journal has its rows then
            for original in unknown:
                rows = await self._parts.reader.deliveries(original)
                kept_for[original] = {row.recipient for row in rows if row.state not in NOT_HANDED_ON}
        return [
            original if original is not None and recipient.address in kept_for.get(original, ()) else None
            for original, recipient in zip(self._in_doubt(prints), incoming.recipients, strict=False)
        ]

    def _in_doubt(self, prints: list[bytes]) -> list[int | None]:
        return [self._parts.repeats.original_of(print_) for print_ in prints]

    def _not_kept(self, fresh: list[bytes], message_id: int, ref: BodyRef | None) -> None:
        """The message is not ours: nothing of it may stay. On a sick disk its file does, until the next start."""
        self._parts.repeats.close(fresh, message_id)
        if ref is not None:
            try:
                self._parts.ledger.bodies.unlink_file(ref.day, ref.file)
            except OSError as error:
                log.warning("body_file_stays", day=ref.day, file=ref.file, why=error.strerror)

    def _plan(
        self, incoming: Incoming, recipient: ResolvedRecipient, size: int, original: int | None
    ) -> PlannedDelivery:
        parts = self._parts
        event = None
        if recipient.kind is RecipientKind.OURS:
            event = parts.coverage().event_for(recipient.subject)
        way = route(incoming.direction, recipient.kind, event is not None)
        if recipient.primary is not None:
            lane = primary_lane(recipient.primary)
        else:
            lane = outward_lane(recipient.domain, parts.smarthost)
        if original is not None:
            state, event = DeliveryState.ABSORBED, None
        elif way is Route.HOLD:
            state = DeliveryState.HELD
        else:
            state = DeliveryState.ACTIVE if parts.start_now(lane, size) else DeliveryState.QUEUED
        return PlannedDelivery(
            recipient.address, recipient.mailbox, recipient.domain, recipient.segment, recipient.known, lane, state,
            event, f"repeat of {id_to_text(original)}" if original is not None else "",
        )  # fmt: skip

    def _head(self, incoming: Incoming, message_id: int, now: int) -> bytes:
        """The trace fields that go in front of the content wherever it goes."""
        parts = self._parts
        second = now // 1000
        if self._date[0] != second:
            self._date = (second, to_rfc5322(now))
        recipients = incoming.recipients
        received = received_line(
            helo=incoming.helo,
            peer=incoming.peer,
            hostname=parts.hostname,
            protocol=incoming.protocol,
            message_id=message_id,
            date=self._date[1],
            recipient=recipients[0].address if len(recipients) == 1 else None,
        )
        trace = trace_line(parts.secret, message_id, incoming.direction)
        return f"{received}\r\n{trace}\r\n".encode("ascii", "replace")

    def _author(self, incoming: Incoming, body: ReceivedBody) -> str | None:
        if incoming.direction is Direction.CONNECTOR:
            return sent_copy_author(incoming.reverse_path, body.facts, self._parts.is_mailbox)
        return incoming.author

    @staticmethod
    def _flags(incoming: Incoming, body: ReceivedBody, author: str | None) -> MessageFlag:
        flags = body.flags
        if body.facts.altered:
            flags |= MessageFlag.ALTERED
        if incoming.direction is Direction.CONNECTOR and author is not None:
            flags |= MessageFlag.SENT_COPY
        return flags


def _prints(incoming: Incoming, body: ReceivedBody) -> list[bytes]:
    return [fingerprint(incoming.reverse_path, one.address, body.received_hash) for one in incoming.recipients]


def _pass_on(kept: asyncio.Future[Accepted], outcome: Accepted | StormsailError) -> None:
    """What became of a message, to whom waits for it, unless that was given up."""
    if kept.done():
        return
    if isinstance(outcome, StormsailError):
        kept.set_exception(outcome)
    else:
        kept.set_result(outcome)


def _first(originals: list[int | None]) -> int | None:
    return next((original for original in originals if original is not None), None)
