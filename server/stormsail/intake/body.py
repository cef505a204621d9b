"""A message's bytes on their way into the store, and what its header told."""

from __future__ import annotations

import msgspec

from stormsail.ledger import MessageFlag
from stormsail.mail.fields import Field
from stormsail.mail.trace import TracePass
from stormsail.store import SpooledBody


class HeaderFacts(msgspec.Struct, frozen=True):
    """What the gateway needs to know of a header."""

    received: int
    """How many Received fields it has."""
    passes: tuple[TracePass, ...]
    """Our own valid trace fields, the latest first."""
    fields: tuple[Field, ...]
    altered: bool

    def values(self, name: bytes) -> list[bytes]:
        """The values of all fields of that (lower-case) name."""
        return [field.value for field in self.fields if field.name == name]


class ReceivedBody(msgspec.Struct):
    """A message as received, line ends normalised; its bytes are either in memory or in a spool file."""

    content: bytes | None
    spooled: SpooledBody | None
    size: int
    received_hash: bytes
    """SHA-256 of the bytes as received, before anything was normalised: what makes a repeat a repeat."""
    flags: MessageFlag
    facts: HeaderFacts
