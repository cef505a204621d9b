"""What routes are given besides the request's own data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import structlog
from litestar import Request
from litestar.params import QueryParameter, SkipValidation
from litestar.types import Guard

from stormsail.domain.errors import StormsailError
from stormsail.domain.roles import Role
from stormsail.http.parts import ApiParts
from stormsail.http.principal import Principal
from stormsail.http.sign_in import at_least

log = structlog.get_logger()

Parts = SkipValidation[ApiParts]
Asking = SkipValidation[Principal]
PageLimit = Annotated[int, QueryParameter(ge=1, le=1000)]

STAFF: list[Guard] = [at_least(Role.STAFF)]
VIEWER: list[Guard] = [at_least(Role.VIEWER)]
OPERATOR: list[Guard] = [at_least(Role.OPERATOR)]
OWNER: list[Guard] = [at_least(Role.OWNER)]


def provide_principal(request: Request[Any, Any, Any]) -> Principal:
    """Who is asking; only on routes with a guard."""
    principal: Principal = request.scope["user"]
    return principal


class Deed:
    """Something an operator does; `detail` may be filled in while it is done."""

    detail = ""


@asynccontextmanager
async def audited(
    parts: ApiParts, principal: Principal, action: str, target: str, detail: str = ""
) -> AsyncIterator[Deed]:
    """Writes what was done into the audit trail, also where it was refused.

    An action that was done stays done where the trail cannot be written (a full disk): that is logged instead.
    """
    deed = Deed()
    deed.detail = detail
    try:
        yield deed
    except StormsailError as error:
        await _record(parts, principal, action, target, f"{deed.detail} refused: {error.sentence}".strip())
        raise
    await _record(parts, principal, action, target, deed.detail)


async def _record(parts: ApiParts, principal: Principal, action: str, target: str, detail: str) -> None:
    try:
        await parts.accounts.audit.record(principal.actor, action, target, detail)
    except StormsailError as error:
        log.error("audit_not_written", action=action, actor=principal.actor, why=error.sentence)
