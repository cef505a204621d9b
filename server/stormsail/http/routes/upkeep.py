"""What operators do to the gateway itself: reload, and the proof of the ledger."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromQuery

from stormsail.wire import LedgerCheck, ReloadAnswer

from .given import OPERATOR, Asking, Parts, audited


@post("/reload", guards=OPERATOR, tags=["upkeep"], status_code=200)
async def reload(parts: Parts, principal: Asking, force: FromQuery[bool] = False) -> ReloadAnswer:
    """Takes configuration, directory and certificates anew; a mistake in them changes nothing."""
    async with audited(parts, principal, "reload", ""):
        return ReloadAnswer(notes=await parts.reload(force))


@get("/ledger/check", guards=OPERATOR, tags=["upkeep"])
async def check_ledger(parts: Parts) -> LedgerCheck:
    """Ledger invariant, body files against ledger, copies against ledger, audit chain: every difference."""
    differences = await parts.ledger_check()
    differences += await parts.mailstore.check()
    differences += await parts.accounts.verify_audit()
    return LedgerCheck(ok=not differences, differences=differences)


ROUTES = [reload, check_ledger]
