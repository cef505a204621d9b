"""Every request's first step: from where it comes and who asks; and the guards that ask for a role.

In: the ASGI scope. Out: `scope["user"]` with the Principal, or None on routes that are open to all. A request that a
cookie vouches for and that changes something must come from our own pages (Sec-Fetch-Site, or a header that no form
can set). Fails with NotSignedIn, NotAllowed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp, Guard, HTTPScope, Receive, Scope, Send

from stormsail.domain.errors import NotAllowed, NotSignedIn
from stormsail.domain.roles import Role

from .parts import ApiParts
from .principal import PEER_SCOPE_KEY, PeerCredentials, Principal, local_principal

COOKIE = "__Host-stormsail"
OUR_HEADER = b"x-stormsail-request"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN = "open"
"""Route option: nobody needs to sign in, but who has is known."""
LOCAL_PEER = "local"


def make_sign_in(parts: ApiParts) -> Callable[[ASGIApp], ASGIApp]:
    """The middleware."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def sign_in(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == ScopeType.HTTP:
                scope["user"] = await _find_principal(parts, scope)
            await app(scope, receive, send)

        return sign_in

    return wrap


async def _find_principal(parts: ApiParts, scope: HTTPScope) -> Principal | None:
    """Who asks. Raises NotSignedIn where nobody may ask without signing in."""
    open_to_all = bool(scope["route_handler"].opt.get(OPEN))
    try:
        principal = await _prove(parts, scope, cookies=not open_to_all)
    except NotSignedIn:
        if not open_to_all:
            raise
        return None
    if principal is None and not open_to_all:
        raise NotSignedIn("Please sign in")
    return principal


async def _prove(parts: ApiParts, scope: HTTPScope, *, cookies: bool) -> Principal | None:
    headers = dict(scope["headers"])
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() == "bearer" and token:
        return await _by_token(parts, token.strip())
    peer = scope.get(PEER_SCOPE_KEY)
    if isinstance(peer, PeerCredentials):
        return await local_principal(peer, parts.settings().server.operators_group)
    cookie = _cookie(headers.get(b"cookie", b""))
    if cookie is None or not cookies:
        return None
    if scope["method"] not in SAFE_METHODS:
        check_same_site(scope)
    return await _by_token(parts, cookie, by_cookie=True)


async def _by_token(parts: ApiParts, token: str, by_cookie: bool = False) -> Principal:
    account, session = await parts.accounts.authenticate(token)
    return Principal(account.address, account.role, account, session, by_cookie)


def check_same_site(scope: Scope) -> None:
    """Raises NotAllowed where the request may have been made by another site's page."""
    headers = dict(scope["headers"])
    site = headers.get(b"sec-fetch-site")
    if site is not None and site != b"same-origin":
        raise NotAllowed("The request comes from another site")
    if site is None and OUR_HEADER not in headers:
        raise NotAllowed("A request signed in by cookie needs the header X-Stormsail-Request")


def _cookie(header: bytes) -> str | None:
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(header.decode("latin-1"))
    except CookieError:
        return None
    return jar[COOKIE].value if COOKIE in jar else None


def at_least(role: Role) -> Guard:
    """A guard that lets only that role and higher ones pass."""

    def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        principal = connection.scope.get("user")
        if not isinstance(principal, Principal):
            raise NotSignedIn("Please sign in")
        if not principal.role.includes(role):
            raise NotAllowed(f"This needs the role {role}; yours is {principal.role}")

    return guard


def client_address(scope: Scope, trusted_proxies: list[str]) -> str:
    """Where the request really comes from: the last address that is none of our own proxies."""
    if PEER_SCOPE_KEY in scope:
        return LOCAL_PEER
    client = scope.get("client")
    address = client[0] if client else ""
    trusted = _networks(tuple(trusted_proxies))
    forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
    hops = b",".join(forwarded).decode("latin-1").split(",")
    while _is_in(address, trusted) and hops:
        nearer = hops.pop().strip()
        if not _is_address(nearer):
            break
        address = nearer
    return address


@lru_cache(maxsize=16)
def _networks(texts: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_in(text: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    return _is_address(text) and any(ipaddress.ip_address(text) in network for network in networks)
