"""What the API works with: the concrete parts, put together by the composition root."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from stormsail.accounts import Accounts
from stormsail.clock import Clock
from stormsail.config import Settings
from stormsail.continuity import Continuity
from stormsail.delivery import DeliveryQueue
from stormsail.directory import Directory
from stormsail.intake import Writing
from stormsail.ledger import Ledger, LedgerReader
from stormsail.mailstore import Mailstore
from stormsail.wire import Alert, OwnHealth, Verdict

from .access import MailboxAccess
from .stream_hub import StreamHub


def _nothing() -> list[str]:
    return []


@dataclass(frozen=True)
class ApiParts:
    """Everything that the routes use. What may change while running is asked for each time."""

    settings: Callable[[], Settings]
    clock: Clock
    accounts: Accounts
    reader: LedgerReader
    ledger: Ledger
    directory: Directory
    mailstore: Mailstore
    continuity: Continuity
    queue: DeliveryQueue
    intake: Writing
    """What people write goes in here."""
    hub: StreamHub
    started_at: int
    """Milliseconds since the epoch."""
    own_health: Callable[[], Awaitable[Sequence[OwnHealth]]]
    ledger_check: Callable[[], Awaitable[list[str]]]
    """Differences between ledger and body files; copies and the audit trail are checked here beside it."""
    reload: Callable[[bool], Awaitable[list[str]]]
    """Takes configuration, directory and certificates anew; says what it took, and what needs a restart."""
    not_ready: Callable[[], list[str]] = _nothing
    """Why no mail can be taken now, for /readyz; empty where it can."""
    verdicts: Callable[[], Sequence[Verdict]] = tuple
    alerts: Callable[[], Sequence[Alert]] = tuple
    access: MailboxAccess = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", MailboxAccess(self.directory))
