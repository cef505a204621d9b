"""What the ledger and the accounts hold, as the API shows it. Pure conversions; times become RFC 3339, ids texts."""

from __future__ import annotations

from stormsail.accounts import Account
from stormsail.clock import to_rfc3339
from stormsail.domain.errors import NotFound
from stormsail.domain.ids import id_from_text, id_to_text
from stormsail.domain.outcome import NEVER
from stormsail.domain.states import WAITING
from stormsail.ledger import DeliveryRow, EventEntry, MessageFlag, MessageRow, Transition
from stormsail.wire import Account as AccountAnswer
from stormsail.wire import Delivery, EventLine, Step


def parse_id(text: str, what: str) -> int:
    """The number of an id in a path. Raises NotFound: what has no id of ours does not exist."""
    number = id_from_text(text)
    if number is None:
        raise NotFound(f"There is no such {what}")
    return number


def optional_time(at: int | None) -> str | None:
    return None if at is None else to_rfc3339(at)


def optional_id(number: int | None) -> str | None:
    return None if number is None else id_to_text(number)


def show_delivery(row: DeliveryRow, message: MessageRow) -> Delivery:
    """A delivery with what its message says of itself."""
    return Delivery(
        id=id_to_text(row.id),
        message_id=message.text_id,
        direction=message.direction,
        reverse_path=message.reverse_path,
        recipient=row.recipient,
        mailbox=row.mailbox,
        domain=row.domain,
        segment=row.segment,
        lane=row.lane,
        state=row.state,
        received_at=to_rfc3339(message.received_at),
        due_at=_due(row),
        attempts=row.attempts,
        event=optional_id(row.first_event),
        kept_by=optional_id(row.kept_by),
        marked=row.marked,
        reply=row.reply,
        changed_at=to_rfc3339(row.changed_at),
        size=message.size,
    )


def _due(row: DeliveryRow) -> str | None:
    return to_rfc3339(row.due_at) if row.state in WAITING and row.due_at < NEVER else None


def show_step(step: Transition) -> Step:
    return Step(
        at=to_rfc3339(step.at),
        input=step.input,
        state=step.state,
        actor=step.actor,
        remote=step.remote,
        reply=step.reply,
        latency_ms=step.latency_ms,
        event=optional_id(step.event_id),
    )


def show_notes(flags: int) -> list[str]:
    """The names of the facts noted at entry."""
    return [flag.name.lower() for flag in MessageFlag if flag.name and flag in MessageFlag(flags)]


def show_line(entry: EventEntry) -> EventLine:
    return EventLine(at=to_rfc3339(entry.at), kind=entry.kind, actor=entry.actor, detail=entry.detail)


def show_account(account: Account) -> AccountAnswer:
    return AccountAnswer(
        address=account.address,
        name=account.name,
        role=account.role,
        created_at=to_rfc3339(account.created_at),
        disabled_at=optional_time(account.disabled_at),
        last_sign_in_at=optional_time(account.last_sign_in_at),
        has_password=account.password_hash is not None,
    )
