"""How things stand in the demo: what is broken, which event runs, what to try next. Pure.

In: faults and status. Out: the phase of the story, who is covered, and hints.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from stormsail.domain.scope import ActiveEvent, Subject, parse_scope
from stormsail.wire import Event, Status

from .faults import Faults
from .people import DOMAIN, Person


class Phase(Enum):
    """Where the story is."""

    WELL = auto()
    SICK = auto()
    TAKEN_OVER = auto()
    MENDED = auto()
    HANDING_BACK = auto()


class Commands(msgspec.Struct, frozen=True):
    """How to call us from a second shell, in this folder."""

    program: str
    config: str
    folder: str

    def demo(self, what: str) -> str:
        return f"{self.program} demo {what}{self.folder}"

    def gateway(self, what: str) -> str:
        return f"{self.program} {what} --config {self.config}"


class Situation(msgspec.Struct, frozen=True):
    """One moment."""

    faults: Faults = Faults()
    status: Status | None = None

    @property
    def events(self) -> list[Event]:
        return self.status.events if self.status is not None else []

    @property
    def phase(self) -> Phase:
        if any(event.state == "active" for event in self.events):
            return Phase.MENDED if self.faults.healthy else Phase.TAKEN_OVER
        if self.events:
            return Phase.HANDING_BACK
        return Phase.WELL if self.faults.healthy else Phase.SICK

    def covers(self, person: Person) -> bool:
        """Whether an event that is not over is about this person."""
        subject = Subject(person.address, DOMAIN, person.segment)
        return any(ActiveEvent(0, parse_scope(event.scope)).covers(subject) for event in self.events)

    @property
    def open_deliveries(self) -> int:
        """Deliveries that are not done, held ones among them."""
        if self.status is None:
            return 0
        queue = self.status.queue
        return queue.queued + queue.active + queue.deferred + queue.held + queue.shielded + queue.outcome_unknown


def hints(situation: Situation, commands: Commands) -> list[str]:
    """What to try next, from a second shell."""
    event = situation.events[0].id if situation.events else "EVENT"
    match situation.phase:
        case Phase.WELL:
            kinds = "inbound, outbound, mailbox, identity, bounce, segment:leeds"
            return [f"Try: {commands.demo('break all')}    (or {kinds})"]
        case Phase.SICK:
            scopes = [f"segment:{name}" for name in sorted(situation.faults.segments)]
            scope = "all" if situation.faults.kinds or not scopes else scopes[0]
            return [f"Try: {commands.gateway(f'activate --scope {scope} --reason outage')}"]
        case Phase.TAKEN_OVER:
            return [
                "People read and write here now, by the API; README.md shows how to sign in as one of them.",
                f"Try: {commands.gateway('status')}    then mend it: {commands.demo('heal')}",
            ]
        case Phase.MENDED:
            return [f"The primary is well, the event is still on. Try: {commands.gateway(f'end {event}')}"]
        case Phase.HANDING_BACK:
            return [f"Held mail goes back to the primary. Try: {commands.gateway(f'report {event}')}"]


def relapse(event: Event, commands: Commands) -> str:
    """Why an event that was handing back is active again, and what to do about it."""
    return (
        f"Event {event.id}: the primary failed again during the handing back, so the event is active again, "
        f"{event.held} held. When the primary is well, once more: {commands.gateway(f'end {event.id}')}"
    )


def sum_up(status: Status, waiting_outside: int, in_mailboxes: int) -> str:
    """The figures in a line. Everything is counted in deliveries, one for each recipient."""
    totals, queue = status.totals, status.queue
    parts = [
        f"deliveries, one per recipient: {totals.accepted} accepted",
        f"{totals.relayed} to the primary",
        f"{totals.sent} to the world",
        f"{queue.held} held",
        f"{queue.queued + queue.active + queue.deferred + queue.shielded + queue.outcome_unknown} waiting",
        *([f"{totals.bounced} bounced"] if totals.bounced else []),
        *([f"{waiting_outside} still with outside senders"] if waiting_outside else []),
        f"{in_mailboxes} in the primary's inboxes",
    ]
    return " · ".join(parts)
