"""An event's report as the API shows it: balance, timeline, message by message where asked for (DESIGN §5).

In: an event. Out: the report; what counts as what is `continuity`'s to say. Counted in deliveries.
"""

from __future__ import annotations

from stormsail.continuity import make_report
from stormsail.continuity.report import Balance as Counts
from stormsail.ledger import EventRow
from stormsail.wire import Balance, Delivery, EventReport, MailboxBalance

from .parts import ApiParts
from .shown import show_delivery, show_line
from .status import show_event


async def show_report(parts: ApiParts, event: EventRow, after: int | None, limit: int) -> EventReport:
    """The report; with messages from behind the delivery id `after`, where that is not None."""
    lines = await parts.reader.report_lines(event.id)
    tally = {line.state.value: 0 for line in lines}
    for line in lines:
        tally[line.state] += line.deliveries
    report = make_report(lines, sum((await parts.reader.event_tally(event.id)).values()))
    messages = None if after is None else await _messages(parts, event.id, after, limit)
    return EventReport(
        event=await show_event(parts, event),
        balance=Balance(**_columns(report.total)),
        balanced=report.balanced,
        states=dict(sorted(tally.items())),
        mailboxes=[MailboxBalance(mailbox=one.mailbox, **_columns(one.balance)) for one in report.mailboxes],
        timeline=[show_line(entry) for entry in await parts.reader.event_entries(event.id)],
        messages=messages,
        next=messages[-1].id if messages and len(messages) == limit else None,
    )


def _columns(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in counts.__struct_fields__}


async def _messages(parts: ApiParts, event_id: int, after: int, limit: int) -> list[Delivery]:
    rows = await parts.reader.event_deliveries(event_id, after, limit)
    return [show_delivery(row, await parts.reader.message(row.message_id)) for row in rows]
