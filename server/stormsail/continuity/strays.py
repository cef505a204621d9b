"""Deliveries held by an event that is closed: nobody would hand them back, so they are queued like any other.

An event closes only when it holds nothing, so there are none unless an older version or a fault has left them.
"""

from __future__ import annotations

import structlog

from stormsail.clock import Clock
from stormsail.domain.ids import id_to_text
from stormsail.domain.states import DeliveryInput
from stormsail.ledger import Change, DeliveryRow, Ledger, LedgerReader

BATCH = 500
log = structlog.get_logger()


async def release_strays(ledger: Ledger, reader: LedgerReader, clock: Clock) -> int:
    """Queues them; says how many. Where another event covers a recipient, the attempt finds that out."""
    released = 0
    for event_id in await reader.closed_events_with_held():
        count = 0
        for mailbox in await reader.held_mailboxes(event_id):
            count += await _release(ledger, reader, clock, event_id, mailbox)
        log.warning("strays_released", event_id=id_to_text(event_id), deliveries=count)
        released += count
    return released


async def _release(ledger: Ledger, reader: LedgerReader, clock: Clock, event_id: int, mailbox: str) -> int:
    released, after = 0, 0
    while rows := await reader.held(event_id, mailbox, after, BATCH):
        now = clock.now_ms()
        released += sum(await ledger.change([_released(row, now) for row in rows]))
        after = rows[-1].id
    return released


def _released(row: DeliveryRow, now: int) -> Change:
    return Change(row.id, row.state, DeliveryInput.RELEASE, now, actor="gateway", due_at=now, attempt=row.attempts)
