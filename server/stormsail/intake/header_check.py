"""What is done to a header at entry: fields that would be believed are renamed, our own passes are read.

Only two kinds of foreign fields would be believed here: `Stormsail-*` without a valid HMAC, and
`Authentication-Results` in our name (RFC 8601 §5). They get `X-Original-` before their name; everything else stays
byte for byte.
"""

from __future__ import annotations

from stormsail.mail.fields import names_host, rename_fields, scan_header
from stormsail.mail.trace import FIELD, read_trace

from .body import HeaderFacts

TRACE = FIELD.lower().encode()
ALWAYS_WANTED = frozenset(
    {b"stormsail-*", b"authentication-results", b"from", b"auto-submitted", b"resent-*", b"message-id"}
)


class HeaderCheck:
    """Looks at the beginning of a message; `marks` are further field names wanted (connector marks)."""

    def __init__(self, secret: bytes, hostname: str, marks: frozenset[str]) -> None:
        self._secret = secret
        self._hostname = hostname.lower()
        self._wanted = ALWAYS_WANTED | {mark.lower().encode() for mark in marks}

    def __call__(self, content: bytes) -> tuple[bytes, HeaderFacts]:
        """The content with forged fields renamed, and the facts of its header."""
        header = scan_header(content, self._wanted)
        passes = []
        forged = []
        for field in header.fields:
            if field.name == TRACE:
                found = read_trace(self._secret, field.value)
                if found is None:
                    forged.append(field)
                else:
                    passes.append(found)
            elif field.name.startswith(b"stormsail-") or self._claims_to_be_us(field.name, field.value):
                forged.append(field)
        if forged:
            content = rename_fields(content, forged)
        return content, HeaderFacts(header.received, tuple(passes), header.fields, bool(forged))

    def _claims_to_be_us(self, name: bytes, value: bytes) -> bool:
        return name == b"authentication-results" and names_host(value, self._hostname)
