"""Signing in and out, one's own sessions and password."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request, Response, delete, get, post, put
from litestar.datastructures import Cookie
from litestar.params import FromPath, JSONBody

from stormsail.accounts import Account, Session
from stormsail.accounts.sessions import LIFETIME_MS
from stormsail.clock import to_rfc3339
from stormsail.domain.errors import BadRequest, NotFound, NotSignedIn, TooManyTries
from stormsail.domain.ids import id_to_text
from stormsail.http.principal import Principal
from stormsail.http.sending import may_send
from stormsail.http.shown import parse_id, show_account
from stormsail.http.sign_in import COOKIE, OPEN, check_same_site, client_address
from stormsail.wire import (
    OwnPasswordRequest,
    SessionAnswer,
    SessionInfo,
    SessionList,
    SignedIn,
    SignInRequest,
)

from .given import STAFF, Asking, Parts

log = structlog.get_logger()

LABEL_LIMIT = 200


@post("/session", opt={OPEN: True}, tags=["people"], status_code=200)
async def sign_in(data: JSONBody[SignInRequest], request: Request[Any, Any, Any], parts: Parts) -> Response[SignedIn]:
    """Address and password for a token; with `cookie` the token goes into a `__Host-` cookie instead."""
    if data.cookie:
        check_same_site(request.scope)
    peer = client_address(request.scope, parts.settings().http.trusted_proxies)
    label = data.label or request.headers.get("user-agent", "")[:LABEL_LIMIT]
    try:
        found = await parts.accounts.sign_in(data.address, data.password, peer, label)
    except (NotSignedIn, TooManyTries) as error:
        # Without the address: it is what somebody typed, and people type passwords into the wrong field.
        log.warning("sign_in_refused", peer=peer, code=error.code)
        raise
    answer = SignedIn(
        token=None if data.cookie else found.token,
        expires_at=to_rfc3339(found.expires_at),
        account=show_account(found.account),
    )
    return Response(answer, cookies=[_cookie(found.token, LIFETIME_MS // 1000)] if data.cookie else [])


@get("/session", guards=STAFF, tags=["people"])
async def read_session(parts: Parts, principal: Asking) -> SessionAnswer:
    """Who is signed in, and whether they may send from their own mailbox now."""
    account, session = principal.account, principal.session
    own = parts.access.own(account.address) if account is not None else None
    return SessionAnswer(
        actor=principal.actor,
        role=principal.role,
        account=show_account(account) if account is not None else None,
        expires_at=to_rfc3339(session.expires_at) if session is not None else None,
        may_send=own is not None and may_send(parts, own.address),
    )


@delete("/session", guards=STAFF, tags=["people"])
async def sign_out(parts: Parts, principal: Asking) -> Response[None]:
    """Ends this session."""
    account, session = signed_in(principal)
    await parts.accounts.sessions.close(account.id, session.id)
    parts.hub.end_for(session_id=session.id)
    await parts.accounts.audit.record(principal.actor, "session.close", account.address)
    return Response(None, status_code=204, cookies=[_cookie("", 0)] if principal.by_cookie else [])


@get("/sessions", guards=STAFF, tags=["people"])
async def list_sessions(parts: Parts, principal: Asking) -> SessionList:
    """One's own sign-ins that are still good."""
    account, current = signed_in(principal)
    rows = await parts.accounts.sessions.of_account(account.id)
    return SessionList(sessions=[_show(row, row.id == current.id) for row in rows])


@delete("/sessions/{session_id:str}", guards=STAFF, tags=["people"])
async def end_session(session_id: FromPath[str], parts: Parts, principal: Asking) -> None:
    """Ends one of one's own sessions, on a lost device for example."""
    account, _ = signed_in(principal)
    number = parse_id(session_id, "session")
    if not await parts.accounts.sessions.close(account.id, number):
        raise NotFound("There is no such session")
    parts.hub.end_for(session_id=number)
    await parts.accounts.audit.record(principal.actor, "session.revoke", account.address, session_id)


@put("/session/password", guards=STAFF, tags=["people"], status_code=204)
async def change_own_password(
    data: JSONBody[OwnPasswordRequest], request: Request[Any, Any, Any], parts: Parts, principal: Asking
) -> None:
    """Changes one's own password; every other session ends."""
    account, session = signed_in(principal)
    peer = client_address(request.scope, parts.settings().http.trusted_proxies)
    try:
        await parts.accounts.check_password(account.address, data.current, peer)
    except NotSignedIn as error:
        raise BadRequest("The current password is wrong") from error
    await parts.accounts.set_password(account.address, data.password, principal.actor, but=session.id)
    parts.hub.end_for(account_id=account.id, but=session.id)


def signed_in(principal: Principal) -> tuple[Account, Session]:
    """The account and session of a person. Raises NotSignedIn at the control socket, which has neither."""
    if principal.account is None or principal.session is None:
        raise NotSignedIn("The control socket has no session; sign in with an account for this")
    return principal.account, principal.session


def _cookie(token: str, seconds: int) -> Cookie:
    return Cookie(key=COOKIE, value=token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict")


def _show(row: Session, current: bool) -> SessionInfo:
    return SessionInfo(
        id=id_to_text(row.id),
        created_at=to_rfc3339(row.created_at),
        last_used_at=to_rfc3339(row.last_used_at),
        expires_at=to_rfc3339(row.expires_at),
        peer=row.peer,
        label=row.label,
        current=current,
    )


ROUTES = [sign_in, read_session, sign_out, list_sessions, end_session, change_own_password]
