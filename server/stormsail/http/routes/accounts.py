"""Accounts over the API. Passwords and roles are the owner's to give: who can set a colleague's password could read
their mail, and an operator reads no bodies (DESIGN §1). Operators see the accounts, and disable staff and viewers.
"""

from __future__ import annotations

from litestar import get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from stormsail.accounts import Account
from stormsail.clock import to_rfc3339
from stormsail.domain.errors import NotAllowed
from stormsail.domain.roles import Role
from stormsail.http.paths import address_in
from stormsail.http.principal import Principal
from stormsail.http.shown import show_account
from stormsail.wire import Account as AccountAnswer
from stormsail.wire import AccountList, AccountRequest, AuditEntry, AuditPage, PasswordRequest, RoleRequest

from .given import OPERATOR, OWNER, Asking, PageLimit, Parts


@get("/accounts", guards=OPERATOR, tags=["people"])
async def list_accounts(parts: Parts) -> AccountList:
    """Everybody who can or could sign in here."""
    return AccountList(accounts=[show_account(account) for account in await parts.accounts.everybody()])


@post("/accounts", guards=OWNER, tags=["people"])
async def add_account(data: JSONBody[AccountRequest], parts: Parts, principal: Asking) -> AccountAnswer:
    """A new account."""
    added = await parts.accounts.add(data.address, data.role, data.password, principal.actor, data.name)
    return show_account(added)


@post("/accounts/{address:str}/disable", guards=OPERATOR, tags=["people"], status_code=200)
async def disable_account(address: FromPath[str], parts: Parts, principal: Asking) -> AccountAnswer:
    """Closes an account at once: its sessions and streams end."""
    account = await parts.accounts.get(address_in(address))
    _check_rank(principal, account)
    disabled = await parts.accounts.disable(account.address, principal.actor)
    parts.hub.end_for(account_id=account.id)
    return show_account(disabled)


@post("/accounts/{address:str}/enable", guards=OPERATOR, tags=["people"], status_code=200)
async def enable_account(address: FromPath[str], parts: Parts, principal: Asking) -> AccountAnswer:
    """Opens a disabled account again."""
    account = await parts.accounts.get(address_in(address))
    _check_rank(principal, account)
    return show_account(await parts.accounts.enable(account.address, principal.actor))


@put("/accounts/{address:str}/password", guards=OWNER, tags=["people"])
async def set_password(
    address: FromPath[str], data: JSONBody[PasswordRequest], parts: Parts, principal: Asking
) -> AccountAnswer:
    """Sets somebody's password; their sessions end."""
    account = await parts.accounts.set_password(address_in(address), data.password, principal.actor)
    parts.hub.end_for(account_id=account.id)
    return show_account(account)


@put("/accounts/{address:str}/role", guards=OWNER, tags=["people"])
async def set_role(
    address: FromPath[str], data: JSONBody[RoleRequest], parts: Parts, principal: Asking
) -> AccountAnswer:
    """Gives somebody another role; their streams begin anew with it."""
    account = await parts.accounts.set_role(address_in(address), data.role, principal.actor)
    parts.hub.end_for(account_id=account.id)
    return show_account(account)


@get("/audit", guards=OPERATOR, tags=["people"])
async def read_audit(parts: Parts, before: FromQuery[int | None] = None, limit: PageLimit = 100) -> AuditPage:
    """Who did what, the newest first."""
    rows = await parts.accounts.audit.page(before, limit)
    entries = [
        AuditEntry(
            id=row.id, at=to_rfc3339(row.at), actor=row.actor, action=row.action, target=row.target, detail=row.detail
        )
        for row in rows
    ]
    return AuditPage(entries=entries, next=rows[-1].id if len(rows) == limit else None)


def _check_rank(principal: Principal, account: Account) -> None:
    if principal.role is not Role.OWNER and account.role.includes(Role.OPERATOR):
        raise NotAllowed(f"An account with the role {account.role} is the owner's to open and close")


ROUTES = [list_accounts, add_account, disable_account, enable_account, set_password, set_role, read_audit]
