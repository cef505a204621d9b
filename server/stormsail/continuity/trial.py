"""The test before an end: the primary must take one held message of each segment before all go (DESIGN §5)."""

from __future__ import annotations

from stormsail.delivery import DeliveryQueue
from stormsail.directory import DirectorySnapshot
from stormsail.domain.replies import ReplyClass
from stormsail.domain.scope import Coverage
from stormsail.ledger import DeliveryRow, LedgerReader

from .drain import subject_of


async def refused_first(
    event_id: int, reader: LedgerReader, queue: DeliveryQueue, directory: DirectorySnapshot, coverage: Coverage
) -> str:
    """Where and how the primary refused the first message that it did not take; empty where it took one of each.

    What is taken is handed back; what is not goes back on hold.
    """
    for row in await _one_of_each_segment(event_id, reader, directory, coverage):
        result = await queue.try_held(row, event_id, trial=True)
        if result is not None and result.about not in (None, ReplyClass.TAKEN):
            where = f" (segment {row.segment})" if row.segment else ""
            return f"{where}: {result.reply}"
    return ""


async def _one_of_each_segment(
    event_id: int, reader: LedgerReader, directory: DirectorySnapshot, coverage: Coverage
) -> list[DeliveryRow]:
    chosen: dict[str | None, DeliveryRow] = {}
    for mailbox in await reader.held_mailboxes(event_id):
        entry = directory.entries.get(mailbox)
        if entry is not None and entry.segment in chosen:
            continue
        rows = await reader.held(event_id, mailbox, 0, 1)
        if not rows or rows[0].segment in chosen:
            continue
        if coverage.event_for(subject_of(rows[0]), but=event_id) is None:
            chosen[rows[0].segment] = rows[0]
    return list(chosen.values())
