"""Whether a message from the primary's connector is a person's own, and belongs into their Sent folder (DESIGN §5)."""

from __future__ import annotations

from collections.abc import Callable

from stormsail.mail.fields import addresses_in

from .body import HeaderFacts


def sent_copy_author(reverse_path: str, facts: HeaderFacts, is_mailbox: Callable[[str], str | None]) -> str | None:
    """The key of the mailbox whose Sent folder the message belongs into; None: it is nobody's own.

    Only if From is one mailbox of ours, the reverse path is not null, there is no Auto-Submitted (RFC 3834) or Resent
    field (RFC 5322 §3.6.6), and it did not come through us before, which a redirect did.
    """
    if not reverse_path or facts.passes:
        return None
    if any(field.name.startswith(b"resent-") for field in facts.fields):
        return None
    if any(value.partition(b";")[0].strip().lower() != b"no" for value in facts.values(b"auto-submitted")):
        return None
    authors = [address for value in facts.values(b"from") for address in addresses_in(value)]
    if len(authors) != 1:
        return None
    return is_mailbox(str(authors[0]))
