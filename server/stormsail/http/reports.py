"""The balance of an event: came in = handed back + filed here + refused + dropped + still open (DESIGN §1, §5).

In: an event. Out: the report, per mailbox, and message by message where asked for. Counted in deliveries.
"""

from __future__ import annotations

from collections import Counter

from stormsail.domain.states import OPEN, DeliveryState
from stormsail.ledger import EventRow
from stormsail.wire import Balance, Delivery, EventReport, MailboxBalance

from .parts import ApiParts
from .shown import show_delivery, show_line
from .status import show_event

COLUMNS = {
    DeliveryState.RELAYED: "handed_back",
    DeliveryState.SENT: "handed_back",
    DeliveryState.FILED: "filed_here",
    DeliveryState.ABSORBED: "filed_here",
    DeliveryState.BOUNCED: "refused",
    DeliveryState.REFUSED: "refused",
    DeliveryState.EXPIRED: "refused",
    DeliveryState.DROPPED: "dropped",
} | dict.fromkeys(OPEN, "still_open")


async def make_report(parts: ApiParts, event: EventRow, after: int | None, limit: int) -> EventReport:
    """The report; with messages from behind the delivery id `after`, where that is not None."""
    tally = await parts.reader.event_tally(event.id)
    mailboxes: dict[str, Counter[str]] = {}
    for line in await parts.reader.report_lines(event.id):
        mailboxes.setdefault(line.mailbox, Counter())[line.state] += line.deliveries
    balance = Balance(**balance_of(tally))
    columns = (balance.handed_back, balance.filed_here, balance.refused, balance.dropped, balance.still_open)
    messages = None if after is None else await _messages(parts, event.id, after, limit)
    return EventReport(
        event=await show_event(parts, event),
        balance=balance,
        balances=balance.came_in == sum(columns),
        states=dict(sorted(tally.items())),
        mailboxes=[MailboxBalance(mailbox=box, **balance_of(counts)) for box, counts in sorted(mailboxes.items())],
        timeline=[show_line(entry) for entry in await parts.reader.event_entries(event.id)],
        messages=messages,
        next=messages[-1].id if messages and len(messages) == limit else None,
    )


def balance_of(states: dict[str, int] | Counter[str]) -> dict[str, int]:
    """State → deliveries as the columns of the balance."""
    columns = dict.fromkeys(("handed_back", "filed_here", "refused", "dropped", "still_open"), 0)
    for state, deliveries in states.items():
        columns[COLUMNS[DeliveryState(state)]] += deliveries
    return {"came_in": sum(states.values()), **columns}


async def _messages(parts: ApiParts, event_id: int, after: int, limit: int) -> list[Delivery]:
    rows = await parts.reader.event_deliveries(event_id, after, limit)
    return [show_delivery(row, await parts.reader.message(row.message_id)) for row in rows]
