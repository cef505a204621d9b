"""What part of the organisation an event is about, and which recipients the running events cover."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .address import normal_domain, parse_address
from .errors import BadAddress, BadRequest


class ScopeKind(StrEnum):
    ALL = "all"
    DOMAIN = "domain"
    SEGMENT = "segment"
    MAILBOX = "mailbox"


class Scope(msgspec.Struct, frozen=True):
    """`all`, `domain:NAME`, `segment:NAME` or `mailbox:ADDRESS`."""

    kind: ScopeKind
    name: str = ""

    def __str__(self) -> str:
        return self.kind.value if self.kind is ScopeKind.ALL else f"{self.kind.value}:{self.name}"


def parse_scope(text: str) -> Scope:
    """The scope written in `text`. Raises BadRequest with the forms there are."""
    word, _, name = text.strip().partition(":")
    if word == "all" and not name:
        return Scope(ScopeKind.ALL)
    try:
        if word == "domain" and name:
            return Scope(ScopeKind.DOMAIN, normal_domain(name))
        if word == "segment" and name:
            return Scope(ScopeKind.SEGMENT, name)
        if word == "mailbox" and name:
            return Scope(ScopeKind.MAILBOX, parse_address(name).key)
    except BadAddress as error:
        raise BadRequest(f"The scope {text!r} names no usable address or domain: {error.sentence}") from error
    raise BadRequest(f"A scope is all, domain:NAME, segment:NAME or mailbox:ADDRESS, not {text!r}")


class Subject(msgspec.Struct, frozen=True):
    """A recipient of ours as coverage sees it; `mailbox` is the directory's canonical key, or the recipient's own."""

    mailbox: str
    domain: str
    segment: str | None


class ActiveEvent(msgspec.Struct, frozen=True):
    """An event that holds mail now."""

    id: int
    scope: Scope
    pinned: frozenset[str] = frozenset()
    """Mailboxes that have mail held by the event: they stay covered if they move out of its scope."""

    def covers(self, subject: Subject) -> bool:
        if subject.mailbox in self.pinned:
            return True
        match self.scope.kind:
            case ScopeKind.ALL:
                return True
            case ScopeKind.DOMAIN:
                return subject.domain == self.scope.name
            case ScopeKind.SEGMENT:
                return subject.segment == self.scope.name
            case ScopeKind.MAILBOX:
                return subject.mailbox == self.scope.name


class Coverage(msgspec.Struct, frozen=True):
    """All active events, the oldest first, with the generation that changes whenever they do."""

    generation: int = 0
    events: tuple[ActiveEvent, ...] = ()

    def event_for(self, subject: Subject, but: int | None = None) -> int | None:
        """The id of the oldest active event (other than `but`) that covers the recipient; None where none does."""
        for event in self.events:
            if event.id != but and event.covers(subject):
                return event.id
        return None
