"""What all structs of the API have in common.

Times are RFC 3339 texts in UTC, ids the 13 letters and digits of DESIGN §1's messages. A request with an unknown
field is refused, so that a misspelt `bcc` is not silently nobody; an answer may grow.
"""

from __future__ import annotations

import msgspec


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what the gateway says."""


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a client asks for."""
