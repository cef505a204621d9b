"""A message handed to a ledger, with a future for what became of it."""

from __future__ import annotations

import asyncio

from stormsail.domain.errors import StormsailError
from stormsail.ledger import Acceptance, Change, Ledger
from stormsail.store import BodyRef


def accepted(
    ledger: Ledger,
    acceptance: Acceptance,
    content: bytes | None,
    ref: BodyRef | None = None,
    changes: list[Change] | None = None,
) -> asyncio.Future[BodyRef | None]:
    """Done when the message is safe; raises what the ledger says against it."""
    outcome: asyncio.Future[BodyRef | None] = asyncio.get_running_loop().create_future()

    def settled(durable: BodyRef | None) -> None:
        if not outcome.done():
            outcome.set_result(durable)

    def failed(error: StormsailError) -> None:
        if not outcome.done():
            outcome.set_exception(error)

    ledger.accept(acceptance, content, ref, settled, failed, changes or [])
    return outcome
