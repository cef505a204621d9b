"""SMTP replies as values: code, enhanced status code and text (RFC 5321 §4.2, RFC 3463, RFC 2034)."""

from __future__ import annotations

import re

import msgspec

ENHANCED = re.compile(r"^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)")
UNPRINTABLE = re.compile(r"[^\x20-\x7e]")
TEXT_LIMIT = 500


class Reply(msgspec.Struct, frozen=True):
    """One SMTP reply; `enhanced` is an RFC 3463 code or empty, `text` what follows it, printable ASCII."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}" if self.enhanced else f"{self.code} {self.text}"

    def wire(self) -> bytes:
        """The reply as one line for the peer, without CRLF."""
        return escape(str(self)).encode("ascii")

    @property
    def positive(self) -> bool:
        return 200 <= self.code < 300

    @property
    def temporary(self) -> bool:
        return not self.positive and not self.permanent

    @property
    def permanent(self) -> bool:
        return 500 <= self.code < 600


def escape(text: str) -> str:
    """Foreign text made safe for a terminal, a log and an SMTP line: everything unprintable becomes `?`."""
    return UNPRINTABLE.sub("?", text)


def parse_reply(code: int, text: str) -> Reply:
    """A peer's reply with its enhanced code taken apart; the text is escaped and cut to `TEXT_LIMIT`."""
    flat = escape(" ".join(text.split()))[:TEXT_LIMIT]
    found = ENHANCED.match(flat)
    if found is None:
        return Reply(code, "", flat)
    return Reply(code, found.group(0), flat[found.end() :].strip())
