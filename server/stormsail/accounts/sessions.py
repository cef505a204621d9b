"""Sign-ins that are still good: tokens of 256 random bits, of which only a hash is kept.

In: an account that has proved who it is. Out: a token; later the account and session that a token stands for. A
session lasts 30 days from its last use. Fails with NotSignedIn.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3

import aiosqlite
import msgspec

from stormsail.clock import MS_PER_DAY, Clock
from stormsail.domain.errors import NotSignedIn

from .database import PeopleDatabase
from .rows import COLUMNS, Account, account_from

LIFETIME_MS = 30 * MS_PER_DAY
NOTED_EVERY_MS = 600_000
"""How exactly the last use is noted: a write per request would be too many."""
TOKEN_BYTES = 32
TOKEN_LIMIT = 200
SESSION = "s.id, s.account_id, s.created_at, s.last_used_at, s.expires_at, s.peer, s.label"


class Session(msgspec.Struct, frozen=True):
    """One sign-in."""

    id: int
    account_id: int
    created_at: int
    last_used_at: int
    expires_at: int
    peer: str
    label: str


class Sessions:
    """Gives and knows tokens."""

    def __init__(self, database: PeopleDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def open(self, connection: aiosqlite.Connection, account_id: int, peer: str, label: str) -> tuple[str, int]:
        """A new token and when it expires; sessions that are over are forgotten."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = self._clock.now_ms()
        await connection.execute("DELETE FROM session WHERE expires_at <= ?", (now,))
        await connection.execute(
            "INSERT INTO session (account_id, token_hash, created_at, last_used_at, expires_at, peer, label)"
            " VALUES (?,?,?,?,?,?,?)",
            (account_id, _hash(token), now, now, now + LIFETIME_MS, peer, label),
        )
        return token, now + LIFETIME_MS

    async def find(self, token: str) -> tuple[Account, Session]:
        """Whose token this is. Raises NotSignedIn."""
        if len(token) > TOKEN_LIMIT:
            raise NotSignedIn("The token is none of ours")
        now = self._clock.now_ms()
        rows = await self._database.rows(
            f"SELECT {COLUMNS}, {SESSION} FROM session s JOIN account a ON a.id = s.account_id"
            " WHERE s.token_hash = ? AND s.expires_at > ? AND a.disabled_at IS NULL",
            (_hash(token), now),
        )
        if not rows:
            raise NotSignedIn("The token is not known here or not valid any more, please sign in again")
        account, session = account_from(rows[0]), _session_from(rows[0])
        if now - session.last_used_at > NOTED_EVERY_MS:
            await self._note_use(session.id, now)
        return account, session

    async def of_account(self, account_id: int) -> list[Session]:
        """The account's sessions, the newest first."""
        rows = await self._database.rows(
            f"SELECT NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL, {SESSION} FROM session s"
            " WHERE s.account_id = ? AND s.expires_at > ? ORDER BY s.id DESC",
            (account_id, self._clock.now_ms()),
        )
        return [_session_from(row) for row in rows]

    async def close(self, account_id: int, session_id: int) -> bool:
        """Ends one session of the account; False where there is none."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "DELETE FROM session WHERE id = ? AND account_id = ?", (session_id, account_id)
            )
            return cursor.rowcount == 1

    async def close_all(self, connection: aiosqlite.Connection, account_id: int, but: int | None = None) -> None:
        """Ends the account's sessions within a transaction, all or all but one."""
        await connection.execute("DELETE FROM session WHERE account_id = ? AND id IS NOT ?", (account_id, but))

    async def _note_use(self, session_id: int, now: int) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE session SET last_used_at = ?, expires_at = ? WHERE id = ?", (now, now + LIFETIME_MS, session_id)
            )


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _session_from(row: sqlite3.Row) -> Session:
    return Session(*row[-7:])
