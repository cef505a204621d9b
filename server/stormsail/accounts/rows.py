"""An account as the database has it."""

from __future__ import annotations

import sqlite3

import msgspec

from stormsail.domain.roles import Role

COLUMNS = (
    "a.id, a.address, a.name, a.role, a.password_hash, a.created_at, a.created_by, a.disabled_at, a.last_sign_in_at"
)
COLUMN_COUNT = 9


class Account(msgspec.Struct, frozen=True):
    """Somebody who signs in here. `address` is a key as the directory compares them."""

    id: int
    address: str
    name: str
    role: Role
    password_hash: str | None
    created_at: int
    created_by: str
    disabled_at: int | None
    last_sign_in_at: int | None

    def __repr__(self) -> str:
        """Without the hash, which belongs into no log."""
        return f"Account({self.address}, {self.role})"


def account_from(row: sqlite3.Row) -> Account:
    """The account in a row that begins with `COLUMNS`."""
    values = list(row[:COLUMN_COUNT])
    values[3] = Role(values[3])
    return Account(*values)
