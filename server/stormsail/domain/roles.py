"""What an account may do (DESIGN §1): each role can do what the ones below it can."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    STAFF = "staff"
    """Own and delegated mailboxes."""
    VIEWER = "viewer"
    """Also how things stand: status, events and their balances. No envelopes."""
    OPERATOR = "operator"
    """Also runs things, and sees envelopes, headers and trace of all mail; never bodies."""
    OWNER = "owner"
    """Also people's passwords and roles, and a look into others' mailboxes, which is audited."""

    def includes(self, other: Role) -> bool:
        """Whether this role may do everything that `other` may."""
        return _RANK[self] >= _RANK[other]


_RANK = {role: rank for rank, role in enumerate(Role)}
