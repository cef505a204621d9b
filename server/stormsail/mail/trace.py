"""Our trace fields: Received (RFC 5321 §4.4) and Stormsail-Trace, which proves that a message passed us before.

`Stormsail-Trace: v1; ID; DOOR; HMAC`. The HMAC is over version, id and door with the gateway's own secret; a field
without a valid one is somebody else's words (DESIGN §3.6).
"""

from __future__ import annotations

import hmac
import re
from functools import lru_cache

import msgspec

from stormsail.domain.ids import id_from_text, id_to_text
from stormsail.domain.reply import escape
from stormsail.domain.routing import Direction

FIELD = "Stormsail-Trace"
HMAC_LETTERS = 32
HELO_LIMIT = 255
NOT_IN_COMMENT = re.compile(r"[()\\\s\"<>;]")


class TracePass(msgspec.Struct, frozen=True):
    """One earlier pass of a message through a door of ours."""

    message_id: int
    direction: Direction


def trace_line(secret: bytes, message_id: int, direction: Direction) -> str:
    """The field for this pass, without line end."""
    stem = f"v1; {id_to_text(message_id)}; {direction.value}"
    return f"{FIELD}: {stem}; {_sign(secret, stem)}"


def read_trace(secret: bytes, value: bytes) -> TracePass | None:
    """The pass that a field's value tells of; None where it is not ours."""
    text = " ".join(value.decode("ascii", "replace").split())
    stem, _, signature = text.rpartition("; ")
    parts = stem.split("; ")
    if len(parts) != 3 or not hmac.compare_digest(_sign(secret, stem).encode(), signature.encode()):
        return None
    _, id_text, door = parts
    number = id_from_text(id_text)
    return TracePass(number, Direction(door)) if number is not None else None


def received_line(
    *, helo: str, peer: str, hostname: str, protocol: str, message_id: int, date: str, recipient: str | None
) -> str:
    """A Received field, folded. `recipient` only where there is just one: others must not learn of each other."""
    target = f"\r\n\tfor <{escape(recipient)}>" if recipient is not None and recipient.isascii() else ""
    return (
        f"Received: from {_origin(helo, peer)}\r\n\tby {hostname} with {protocol} id {id_to_text(message_id)}"
        f"{target};\r\n\t{date}"
    )


@lru_cache(maxsize=1024)
def _origin(helo: str, peer: str) -> str:
    """Who handed the message in, in words of its own and by its address."""
    name = NOT_IN_COMMENT.sub("?", escape(helo))[:HELO_LIMIT] or "unknown"
    return f"{name} ([IPv6:{peer}])" if ":" in peer else f"{name} ([{peer}])"


def _sign(secret: bytes, stem: str) -> str:
    return hmac.digest(secret, stem.encode("utf-8", "replace"), "sha256").hex()[:HMAC_LETTERS]
