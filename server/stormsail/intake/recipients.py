"""Who a recipient is, and whether this door takes mail for it (DESIGN §3.5 to §3.7, RFC 5321 §3.3).

In: an address from RCPT or a draft. Out: a `ResolvedRecipient`. Fails with RelayDenied, UnknownRecipient or
RecipientUnverified. The common case, an address in the directory, needs no waiting.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

import msgspec

from stormsail.clock import MS_PER_DAY, Clock
from stormsail.config import UnknownRecipients
from stormsail.directory import Directory
from stormsail.directory.snapshot import DirectorySnapshot, DomainRule
from stormsail.domain.address import Address, parse_address
from stormsail.domain.errors import BadAddress, RecipientUnverified, RelayDenied, UnknownRecipient
from stormsail.domain.routing import Direction, RecipientKind
from stormsail.domain.scope import Subject

DIRECTORY_FRESH_MS = MS_PER_DAY
KNOWN_KEPT = 20_000
ROUTED = re.compile(r"[%!@]|^[/|]")


class ResolvedRecipient(msgspec.Struct, frozen=True):
    """A recipient that may be taken. `address` is as given, `key` the directory's form of it."""

    address: str
    key: str
    domain: str
    kind: RecipientKind
    mailbox: str | None = None
    segment: str | None = None
    known: bool = False
    primary: str | None = None

    @property
    def subject(self) -> Subject:
        """As event coverage sees it."""
        return Subject(self.mailbox or self.key, self.domain, self.segment)


VerifyCallOut = Callable[[DomainRule, Address], Awaitable[bool | None]]
"""Asks the primary: True it has the recipient, False it clearly has not, None it did not say."""


class Recipients:
    """Decides by directory, domain rule and, where that is asked for, a call-out."""

    def __init__(self, directory: Directory, clock: Clock, verify: VerifyCallOut) -> None:
        self._directory = directory
        self._clock = clock
        self._verify = verify
        self._snapshot = directory.snapshot
        self._known: dict[str, ResolvedRecipient] = {}
        """What the present snapshot said of addresses as they are written."""

    @property
    def postmaster(self) -> str | None:
        """Whom mail to `<Postmaster>` without a domain is for (RFC 5321 §4.5.1)."""
        first = next(iter(self._directory.snapshot.domains), None)
        return f"postmaster@{first}" if first is not None else None

    def known(self, text: str) -> ResolvedRecipient | None:
        """The recipient if the directory settles it at once; raises BadAddress."""
        snapshot = self._directory.snapshot
        if snapshot is not self._snapshot or len(self._known) > KNOWN_KEPT:
            self._snapshot, self._known = snapshot, {}
        found = self._known.get(text)
        if found is None:
            found = self._look_up(text, snapshot)
            if found is not None:
                self._known[text] = found
        return found

    @staticmethod
    def _look_up(text: str, snapshot: DirectorySnapshot) -> ResolvedRecipient | None:
        address = parse_address(text)
        rule = snapshot.domains.get(address.domain)
        if rule is None:
            return None
        entry = snapshot.resolve(address)
        if entry is None:
            return None
        return ResolvedRecipient(
            str(address),
            address.key,
            address.domain,
            RecipientKind.OURS,
            entry.address,
            entry.segment,
            True,
            rule.primary,
        )

    async def resolve(self, direction: Direction, text: str) -> ResolvedRecipient:
        """The recipient, or the error that says why this door does not take it."""
        found = self.known(text)
        if found is not None:
            return found
        address = parse_address(text)
        rule = self._directory.snapshot.domains.get(address.domain)
        if rule is None:
            if direction is Direction.MX:
                raise RelayDenied("We do not relay mail for this recipient")
            return ResolvedRecipient(str(address), address.key, address.domain, RecipientKind.FOREIGN)
        known = await self._ask(direction, rule, address)
        return ResolvedRecipient(
            str(address), address.key, address.domain, RecipientKind.OURS, None, None, known, rule.primary
        )

    async def _ask(self, direction: Direction, rule: DomainRule, address: Address) -> bool:
        """Whether an address of ours that the directory lacks is known otherwise; raises where it is refused.

        A primary that trusts us may take a local part with `%`, `!` or `@` for a way to somebody else: that would make
        relays of both of us.
        """
        if ROUTED.search(address.local):
            raise BadAddress("Mail is not sent on by way of this address")
        if rule.unknown_recipients == UnknownRecipients.ACCEPT or direction is not Direction.MX:
            return False
        if rule.unknown_recipients == UnknownRecipients.REFUSE and self._directory_is_fresh():
            raise UnknownRecipient("There is no such mailbox here")
        now = self._clock.now_ms()
        learnt = self._directory.learnt(address.key, now)
        if learnt is None:
            learnt = await self._verify(rule, address)
            if learnt is not None:
                await self._directory.learn(address.key, learnt)
        if learnt is None:
            raise RecipientUnverified("This recipient cannot be verified now, please try again later")
        if not learnt:
            raise UnknownRecipient("There is no such mailbox here")
        return True

    def _directory_is_fresh(self) -> bool:
        loaded_at = self._directory.snapshot.loaded_at
        return loaded_at is not None and abs(self._clock.now_ms() - loaded_at) < DIRECTORY_FRESH_MS
