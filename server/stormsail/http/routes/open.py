"""What is open to all: the page at `/`, probes, and metrics for a scraper on this machine."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.params import SkipValidation

from stormsail.domain.errors import NotSignedIn
from stormsail.domain.roles import Role
from stormsail.http.metrics import CONTENT_TYPE, Metrics
from stormsail.http.page import PAGE_POLICY, make_page
from stormsail.http.principal import PEER_SCOPE_KEY, Principal
from stormsail.http.sign_in import OPEN, client_address
from stormsail.http.status import make_status

from .given import Parts

LOOPBACK = ("127.", "::1", "::ffff:127.")
UNAVAILABLE = 503
Counters = SkipValidation[Metrics]


@get("/", opt={OPEN: True}, include_in_schema=False, media_type="text/html")
async def read_page(parts: Parts) -> Response[str]:
    """What this is, and where the API is."""
    page = make_page(parts.settings().server.hostname)
    return Response(page, media_type="text/html", headers={"Content-Security-Policy": PAGE_POLICY})


@get("/livez", opt={OPEN: True}, tags=["probes"], media_type="text/plain")
async def read_live() -> str:
    """The process answers."""
    return "ok\n"


@get("/readyz", opt={OPEN: True}, tags=["probes"], media_type="text/plain")
async def read_ready(parts: Parts) -> Response[str]:
    """Whether mail can be taken; 503 with the reasons where not."""
    reasons = parts.not_ready()
    text = "".join(f"{reason}\n" for reason in reasons) or "ok\n"
    return Response(text, status_code=UNAVAILABLE if reasons else 200, media_type="text/plain")


@get("/metrics", opt={OPEN: True}, tags=["probes"], media_type="text/plain")
async def read_metrics(
    request: Request[Any, Any, Any], parts: Parts, metrics: SkipValidation[Metrics]
) -> Response[bytes]:
    """Prometheus text, for this machine and for viewers: not for whoever reaches us through a proxy."""
    principal = request.scope["user"]
    signed_in = isinstance(principal, Principal) and principal.role.includes(Role.VIEWER)
    if not signed_in and not _is_on_this_machine(request, parts.settings().http.trusted_proxies):
        raise NotSignedIn("Metrics are for this machine, and for viewers with a token")
    page = metrics.page(await make_status(parts), parts.hub.readers)
    return Response(page, media_type=CONTENT_TYPE)


def _is_on_this_machine(request: Request[Any, Any, Any], trusted_proxies: list[str]) -> bool:
    if PEER_SCOPE_KEY in request.scope:
        return True
    forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    return not forwarded and client_address(request.scope, trusted_proxies).startswith(LOOPBACK)


ROUTES = [read_page, read_live, read_ready, read_metrics]
