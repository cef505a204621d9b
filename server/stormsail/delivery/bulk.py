"""Moves of many deliveries at once, in chunks, so that no 250 waits for an operator's bulk order."""

from __future__ import annotations

from functools import partial

from stormsail.clock import Clock
from stormsail.domain.states import DeliveryInput
from stormsail.ledger import Ledger, MoveMany, QueueFilter, move_chunk


async def move_all(
    ledger: Ledger, clock: Clock, chosen: QueueFilter, happened: DeliveryInput, actor: str, except_events: set[int]
) -> int:
    """Moves every chosen delivery that may move so; those kept by one of `except_events` stay. Gives the count."""
    many = MoveMany(chosen, happened, actor, except_events)
    moved, after = 0, 0
    while True:
        chunk = partial(move_chunk, many=many, after=after, now=clock.now_ms())
        answer: tuple[int, int | None] = await ledger.call(chunk)
        count, last = answer
        moved += count
        if last is None:
            return moved
        after = last
