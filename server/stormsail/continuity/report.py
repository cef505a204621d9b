"""An event's balance: came in = handed back + filed only here + refused + dropped + still open (DESIGN §2). Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from stormsail.domain.states import OPEN, DeliveryState
from stormsail.ledger import ReportLine

HANDED_BACK = frozenset({DeliveryState.RELAYED, DeliveryState.SENT})
REFUSED = frozenset({DeliveryState.REFUSED, DeliveryState.BOUNCED, DeliveryState.EXPIRED})
FILED = frozenset({DeliveryState.FILED, DeliveryState.ABSORBED})


class Balance(msgspec.Struct):
    """Counts of deliveries."""

    came_in: int = 0
    handed_back: int = 0
    filed_only_here: int = 0
    refused: int = 0
    dropped: int = 0
    still_open: int = 0

    @property
    def balanced(self) -> bool:
        parts = self.handed_back + self.filed_only_here + self.refused + self.dropped + self.still_open
        return self.came_in == parts

    def add(self, state: DeliveryState, count: int) -> None:
        """Counts so many deliveries in that state, each in exactly one place."""
        self.came_in += count
        if state in HANDED_BACK:
            self.handed_back += count
        elif state in FILED:
            self.filed_only_here += count
        elif state in REFUSED:
            self.refused += count
        elif state is DeliveryState.DROPPED:
            self.dropped += count
        elif state in OPEN:
            self.still_open += count


class MailboxBalance(msgspec.Struct, frozen=True):
    """The balance of one mailbox, or of a recipient that the directory does not know."""

    mailbox: str
    balance: Balance


class EventReport(msgspec.Struct, frozen=True):
    """The balance of everything an event held, altogether and by mailbox."""

    total: Balance
    mailboxes: list[MailboxBalance]
    balanced: bool


def make_report(lines: Iterable[ReportLine], held_ever: int) -> EventReport:
    """Sums up the ledger's lines; `held_ever` is the number of deliveries counted independently of their states."""
    total = Balance()
    by_mailbox: dict[str, Balance] = {}
    for line in lines:
        total.add(line.state, line.deliveries)
        by_mailbox.setdefault(line.mailbox, Balance()).add(line.state, line.deliveries)
    mailboxes = [MailboxBalance(name, balance) for name, balance in by_mailbox.items()]
    balanced = total.balanced and total.came_in == held_ever and all(one.balance.balanced for one in mailboxes)
    return EventReport(total, mailboxes, balanced)
