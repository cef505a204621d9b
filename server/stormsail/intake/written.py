"""Messages written here: by staff (compose) and by the gateway itself (notices). They go the way of all others.

In: a draft or a notice's bytes. Out: `Accepted`. Fails with the error that tells the author what to change.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

import msgspec

from stormsail.clock import Clock, to_rfc5322
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadRequest, MessageTooLarge, TooManyRecipients
from stormsail.domain.ids import id_to_text
from stormsail.domain.routing import Direction
from stormsail.ledger import Change, MessageFlag
from stormsail.mail.compose import Letter, Person, build_letter

from .body import HeaderFacts, ReceivedBody
from .intake import Accepted, Incoming, Intake
from .recipients import Recipients, ResolvedRecipient


class Draft(msgspec.Struct, frozen=True):
    """What a person wants to send. `author` is the key of their mailbox, `sender` the address to show."""

    author: str
    sender: str
    sender_name: str
    to: tuple[str, ...]
    cc: tuple[str, ...]
    bcc: tuple[str, ...]
    subject: str
    text: str
    in_reply_to: str | None = None
    references: tuple[str, ...] = ()


class Composed(msgspec.Struct, frozen=True):
    """A message that was sent from here."""

    id: int
    message_id: str
    recipients: tuple[str, ...]


class Writing:
    """Builds messages and hands them to the intake."""

    def __init__(
        self,
        intake: Intake,
        recipients: Recipients,
        clock: Clock,
        hostname: str,
        recipients_limit: int,
        size_limit: Callable[[], int],
    ) -> None:
        self._intake = intake
        self._recipients = recipients
        self._clock = clock
        self._hostname = hostname
        self._recipients_limit = recipients_limit
        self._size_limit = size_limit
        self._count = 0

    async def compose(self, draft: Draft) -> Composed:
        """Sends a person's message to all its recipients, once each. Raises BadAddress, BadRequest and others."""
        everybody = list(dict.fromkeys(str(parse_address(one)) for one in (*draft.to, *draft.cc, *draft.bcc)))
        if not everybody:
            raise BadRequest("The message has no recipient")
        if len(everybody) > self._recipients_limit:
            raise TooManyRecipients(f"The message has more than {self._recipients_limit} recipients")
        resolved = [await self._recipients.resolve(Direction.COMPOSE, one) for one in everybody]
        message_id = self.new_message_id()
        content = build_letter(self._letter(draft, message_id))
        self._intake.check_room()
        accepted = await self._take(Direction.COMPOSE, draft.sender, resolved, content, draft.author)
        return Composed(accepted.id, message_id, tuple(everybody))

    async def send_notice(self, to: str, content: bytes, changes: list[Change]) -> Accepted:
        """A notice of ours with the null reverse path; the moves it tells of are done in the same commit."""
        recipient = await self._recipients.resolve(Direction.DSN, to)
        return await self._take(Direction.DSN, "", [recipient], content, None, changes)

    def new_message_id(self) -> str:
        """A Message-ID of ours, without angle brackets; never the same twice."""
        self._count += 1
        return f"{id_to_text(self._clock.now_ms())}.{self._count}.{secrets.token_hex(4)}@{self._hostname}"

    async def _take(
        self,
        direction: Direction,
        reverse_path: str,
        recipients: list[ResolvedRecipient],
        content: bytes,
        author: str | None,
        changes: list[Change] | None = None,
    ) -> Accepted:
        if len(content) > self._size_limit():
            raise MessageTooLarge(f"The message is larger than {self._size_limit()} octets")
        facts = HeaderFacts(0, (), (), False)
        flags = MessageFlag.NONE if content.isascii() else MessageFlag.EIGHT_BIT
        body = ReceivedBody(content, None, len(content), hashlib.sha256(content).digest(), flags, facts)
        incoming = Incoming(direction, "127.0.0.1", self._hostname, "HTTP", "", reverse_path, recipients, None, author)
        return await self._intake.take(incoming, body, changes)

    def _letter(self, draft: Draft, message_id: str) -> Letter:
        return Letter(
            Person(draft.sender, draft.sender_name),
            tuple(Person(str(parse_address(one))) for one in draft.to),
            tuple(Person(str(parse_address(one))) for one in draft.cc),
            draft.subject,
            draft.text,
            to_rfc5322(self._clock.now_ms()),
            message_id,
            draft.in_reply_to,
            draft.references,
        )
