"""Accounts, sessions and the audit trail."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from stormsail.domain.roles import Role

from .base import Answer, Asked

AccountAddress = Annotated[str, Meta(min_length=3, max_length=320)]
Password = Annotated[str, Meta(min_length=1, max_length=1024)]


class SignInRequest(Asked, frozen=True, kw_only=True):
    """`cookie` keeps the token out of the answer and in a `__Host-` cookie instead: for browsers."""

    address: AccountAddress
    password: Password
    cookie: bool = False
    label: Annotated[str, Meta(max_length=200)] = ""


class Account(Answer, frozen=True, kw_only=True):
    """Somebody who can sign in here."""

    address: str
    name: str
    role: Role
    created_at: str
    disabled_at: str | None
    last_sign_in_at: str | None
    has_password: bool


class SignedIn(Answer, frozen=True, kw_only=True):
    """`token` is null where it went into the cookie."""

    token: str | None
    expires_at: str
    account: Account


class SessionAnswer(Answer, frozen=True, kw_only=True):
    """Who is signed in; over the control socket there is an actor and a role, but no account."""

    actor: str
    role: Role
    account: Account | None
    expires_at: str | None
    may_send: bool


class SessionInfo(Answer, frozen=True, kw_only=True):
    """One sign-in of the account that is still good."""

    id: str
    created_at: str
    last_used_at: str
    expires_at: str
    peer: str
    label: str
    current: bool


class SessionList(Answer, frozen=True, kw_only=True):
    sessions: list[SessionInfo]


class AccountRequest(Asked, frozen=True, kw_only=True):
    """A new account; without a password it cannot sign in yet."""

    address: AccountAddress
    role: Role
    password: Password | None = None
    name: Annotated[str, Meta(max_length=200)] = ""


class PasswordRequest(Asked, frozen=True, kw_only=True):
    password: Password


class OwnPasswordRequest(Asked, frozen=True, kw_only=True):
    """Changing one's own password; all other sessions end."""

    current: Password
    password: Password


class RoleRequest(Asked, frozen=True, kw_only=True):
    role: Role


class AccountList(Answer, frozen=True, kw_only=True):
    accounts: list[Account]


class AuditEntry(Answer, frozen=True, kw_only=True):
    """One line of the audit trail."""

    id: int
    at: str
    actor: str
    action: str
    target: str
    detail: str


class AuditPage(Answer, frozen=True, kw_only=True):
    """Newest first; the next page is asked for with `before` = `next`."""

    entries: list[AuditEntry]
    next: int | None
