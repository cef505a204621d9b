"""Finding a message again and telling everything that happened to it.

In: our id, a Message-ID, an address, words of a subject. Out: messages with their deliveries and steps. Reads only;
of the bytes only the header is ever shown.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import asdict

from stormsail.clock import to_rfc3339
from stormsail.domain.errors import NotFound
from stormsail.domain.ids import id_from_text
from stormsail.domain.states import DeliveryInput, DeliveryState
from stormsail.ledger import DeliveryRow, MessageRow, Transition
from stormsail.mail.fields import header_length
from stormsail.wire import Step, TracedDelivery, TracedMessage

from .copies import show_person
from .parts import ApiParts
from .shown import optional_time, show_delivery, show_notes, show_step

ENDS_OF_ATTEMPT = frozenset(
    {
        DeliveryInput.TAKE_BY_PRIMARY,
        DeliveryInput.TAKE_BY_INTERNET,
        DeliveryInput.DEFER,
        DeliveryInput.SHIELD,
        DeliveryInput.BOUNCE,
        DeliveryInput.REFUSE,
        DeliveryInput.LOSE_REPLY,
    }
)


async def find_messages(parts: ApiParts, query: str, limit: int) -> list[MessageRow]:
    """Messages that the query names, the newest first. An id may be a message's or a delivery's."""
    number = id_from_text(query)
    if number is not None:
        delivery = await parts.reader.delivery(number)
        found = await _messages(parts, [delivery.message_id if delivery is not None else number])
        if found:
            return found
    ids = await parts.mailstore.search_messages(query, limit)
    if "@" in query:
        ids += await parts.reader.messages_of_address(query.strip().strip("<>"), limit)
    return await _messages(parts, sorted(set(ids), reverse=True)[:limit])


async def trace_message(parts: ApiParts, message: MessageRow) -> TracedMessage:
    """Envelope, what the header says, deliveries with their steps."""
    summary = await parts.mailstore.subject_of(message.id)
    deliveries = [await _trace_delivery(parts, row, message) for row in await parts.reader.deliveries(message.id)]
    return TracedMessage(
        id=message.text_id,
        direction=message.direction,
        reverse_path=message.reverse_path,
        received_at=to_rfc3339(message.received_at),
        peer=message.peer,
        helo=message.helo,
        tls=message.tls,
        author=message.author,
        size=message.size,
        notes=show_notes(message.flags),
        header_from=show_person(summary.author.name, summary.author.address) if summary is not None else None,
        subject=summary.subject if summary is not None else None,
        message_id=summary.message_id if summary is not None else None,
        date=optional_time(summary.date) if summary is not None else None,
        deliveries=deliveries,
    )


async def read_header(parts: ApiParts, message: MessageRow) -> bytes:
    """Our trace fields and the header as it came, up to and without the empty line."""
    content = await asyncio.to_thread(parts.ledger.bodies.read, message.body)
    length = header_length(content)
    end = len(content) if length is None else max(0, length - 2)
    return message.head + content[:end]


async def _trace_delivery(parts: ApiParts, row: DeliveryRow, message: MessageRow) -> TracedDelivery:
    moves = await parts.reader.transitions(row.id)
    steps = [_acceptance(message, _first_state(row, moves)), *map(show_step, moves)]
    return TracedDelivery(**asdict(show_delivery(row, message)), steps=steps)


def _first_state(row: DeliveryRow, moves: list[Transition]) -> DeliveryState:
    """The state in which the delivery was accepted, which the ledger tells only by what happened next."""
    if not moves:
        return row.state
    happened = [DeliveryInput(move.input) for move in moves]
    if DeliveryInput.COVER in happened or DeliveryInput.HOLD in happened:
        was_held = False
    else:
        was_held = row.first_event is not None or happened[0] is DeliveryInput.RELEASE
    if was_held:
        return DeliveryState.HELD
    return DeliveryState.ACTIVE if happened[0] in ENDS_OF_ATTEMPT else DeliveryState.QUEUED


def _acceptance(message: MessageRow, state: DeliveryState) -> Step:
    """The first step, which the ledger has as the message itself."""
    return Step(
        at=to_rfc3339(message.received_at),
        input="accept",
        state=state,
        actor=message.author or "",
        remote=message.peer,
        reply="",
        latency_ms=None,
        event=None,
    )


async def _messages(parts: ApiParts, ids: list[int]) -> list[MessageRow]:
    found = []
    for number in ids:
        try:
            found.append(await parts.reader.message(number))
        except NotFound:
            continue
    return found
