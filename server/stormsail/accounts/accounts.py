"""Who may sign in here: accounts with roles, passwords, sessions, audit trail (DESIGN §1, §3.13).

In: addresses, passwords, tokens. Out: accounts and sessions. Every change is audited in its own transaction. Fails
with NotSignedIn, TooManyTries, Overloaded, NotFound, Conflict, BadRequest. Nothing here asks the primary or its
identity provider.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiosqlite
import msgspec

from stormsail.clock import Clock
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadAddress, Conflict, NotFound, NotSignedIn
from stormsail.domain.roles import Role

from .audit import AuditTrail
from .database import PeopleDatabase
from .passwords import Passwords, check_strength
from .rows import COLUMNS, Account, account_from
from .sent_once import SentOnce
from .sessions import Session, Sessions
from .throttle import Throttle

WRONG = "The address or the password is wrong"


class SignIn(msgspec.Struct, frozen=True):
    """A sign-in that worked. The token is shown once."""

    account: Account
    token: str
    expires_at: int


class Accounts:
    """Open between `start` and `stop`. `canonical` gives the directory's own address of an alias, or None."""

    def __init__(
        self,
        data_dir: Path,
        clock: Clock,
        canonical: Callable[[str], str | None] = lambda key: None,
        passwords: Passwords | None = None,
    ) -> None:
        self._database = PeopleDatabase(data_dir)
        self._clock = clock
        self._canonical = canonical
        self._passwords = passwords or Passwords()
        self._throttle = Throttle(clock)
        self.audit = AuditTrail(self._database, clock)
        self.sessions = Sessions(self._database, clock)
        self.sent_once = SentOnce(self._database, clock)

    async def start(self) -> None:
        """Opens `people.db`. Raises StoreError."""
        await self._database.start()

    async def stop(self) -> None:
        self._passwords.close()
        await self._database.stop()

    # ── accounts ──

    async def add(self, address: str, role: Role, password: str | None, actor: str, name: str = "") -> Account:
        """A new account. Raises Conflict where the address has one, BadAddress, BadRequest for a weak password."""
        key = parse_address(address).key
        if await self.find(key) is not None:
            raise Conflict(f"There is an account {key} already")
        kept = await self._new_hash(key, password)
        async with self._database.transaction() as connection:
            cursor = await connection.execute(
                "INSERT INTO account (address, name, role, password_hash, created_at, created_by)"
                " VALUES (?,?,?,?,?,?) ON CONFLICT (address) DO NOTHING",
                (key, name, role, kept, self._clock.now_ms(), actor),
            )
            if cursor.rowcount != 1:
                raise Conflict(f"There is an account {key} already")
            await self.audit.append(connection, actor, "account.add", key, f"role {role}")
        return await self.get(key)

    async def everybody(self) -> list[Account]:
        """All accounts, by address."""
        return [account_from(row) for row in await self._rows("1 ORDER BY a.address")]

    async def find(self, address: str) -> Account | None:
        """The account of an address as it is written there; None where there is none."""
        rows = await self._rows("a.address = ?", parse_address(address).key)
        return account_from(rows[0]) if rows else None

    async def get(self, address: str) -> Account:
        """Raises NotFound."""
        account = await self.find(address)
        if account is None:
            raise NotFound(f"There is no account {address}")
        return account

    async def disable(self, address: str, actor: str) -> Account:
        """Closes the account: its sessions end at once, and it cannot sign in."""
        account = await self.get(address)
        async with self._database.transaction() as connection:
            sql = "UPDATE account SET disabled_at = coalesce(disabled_at, ?) WHERE id = ?"
            await connection.execute(sql, (self._clock.now_ms(), account.id))
            await self.sessions.close_all(connection, account.id)
            await self.audit.append(connection, actor, "account.disable", account.address)
        return await self.get(address)

    async def enable(self, address: str, actor: str) -> Account:
        """Opens the account again; earlier sessions stay over."""
        return await self._update(address, "disabled_at = NULL", (), actor, "account.enable")

    async def set_role(self, address: str, role: Role, actor: str) -> Account:
        """Gives the account another role; holds from the next request on."""
        return await self._update(address, "role = ?", (role,), actor, "account.role", f"role {role}")

    async def set_password(self, address: str, password: str, actor: str, but: int | None = None) -> Account:
        """Sets a password; all sessions end, but the one with the id `but`. Raises BadRequest for a weak one."""
        account = await self.get(address)
        kept = await self._new_hash(account.address, password)
        async with self._database.transaction() as connection:
            await connection.execute("UPDATE account SET password_hash = ? WHERE id = ?", (kept, account.id))
            await self.sessions.close_all(connection, account.id, but)
            await self.audit.append(connection, actor, "account.password", account.address)
        return await self.get(address)

    async def can_sign_in(self) -> list[str]:
        """Addresses of the accounts that have a password and are not disabled."""
        rows = await self._rows("a.disabled_at IS NULL AND a.password_hash IS NOT NULL")
        return [account_from(row).address for row in rows]

    # ── proving who one is ──

    async def check_password(self, address: str, password: str, peer: str) -> Account:
        """The account that these belong to. Raises NotSignedIn, TooManyTries, Overloaded."""
        try:
            key = parse_address(address).key
        except BadAddress:
            key = ""
        async with self._throttle.turn(key, peer):
            account = await self._find_for_sign_in(key)
            usable = account is not None and account.disabled_at is None
            kept = account.password_hash if account is not None and usable else None
            if not await self._passwords.verify(kept, password) or account is None or kept is None:
                raise NotSignedIn(WRONG)
        if self._passwords.outdated(kept):
            await self._rehash(account, password)
        return account

    async def sign_in(self, address: str, password: str, peer: str, label: str = "") -> SignIn:
        """Checks the password and opens a session."""
        account = await self.check_password(address, password, peer)
        async with self._database.transaction() as connection:
            still_good = "UPDATE account SET last_sign_in_at = ? WHERE id = ? AND disabled_at IS NULL"
            cursor = await connection.execute(still_good, (self._clock.now_ms(), account.id))
            if cursor.rowcount != 1:
                raise NotSignedIn(WRONG)
            token, expires_at = await self.sessions.open(connection, account.id, peer, label)
            await self.audit.append(connection, account.address, "session.open", account.address, f"from {peer}")
        return SignIn(await self.get(account.address), token, expires_at)

    async def authenticate(self, token: str) -> tuple[Account, Session]:
        """Whose token this is. Raises NotSignedIn."""
        return await self.sessions.find(token)

    async def verify_audit(self) -> list[str]:
        """Every break of the audit chain; empty where it is whole."""
        return await self.audit.verify()

    # ── inside ──

    async def _rows(self, where: str, *values: object) -> list[aiosqlite.Row]:
        return await self._database.rows(f"SELECT {COLUMNS} FROM account a WHERE {where}", values)

    async def _find_for_sign_in(self, key: str) -> Account | None:
        if not key:
            return None
        account = await self.find(key)
        if account is None:
            canonical = self._canonical(key)
            account = await self.find(canonical) if canonical is not None and canonical != key else None
        return account

    async def _new_hash(self, key: str, password: str | None) -> str | None:
        if password is None:
            return None
        check_strength(password, key)
        return await self._passwords.hash(password)

    async def _rehash(self, account: Account, password: str) -> None:
        kept = await self._passwords.hash(password)
        async with self._database.transaction() as connection:
            await connection.execute(
                "UPDATE account SET password_hash = ? WHERE id = ? AND password_hash = ?",
                (kept, account.id, account.password_hash),
            )

    async def _update(
        self, address: str, change: str, values: tuple[object, ...], actor: str, action: str, detail: str = ""
    ) -> Account:
        account = await self.get(address)
        async with self._database.transaction() as connection:
            await connection.execute(f"UPDATE account SET {change} WHERE id = ?", (*values, account.id))
            await self.audit.append(connection, actor, action, account.address, detail)
        return await self.get(address)
