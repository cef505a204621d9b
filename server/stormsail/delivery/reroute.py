"""Mail that waits for a next hop which the configuration no longer has: it goes where its recipients' mail goes now.

In: a lane that cannot be used. Out: how many deliveries wait for which lane instead. Held mail is not touched: where it
goes is decided when it is handed back.
"""

from __future__ import annotations

import sqlite3
from functools import partial

import structlog

from stormsail.ledger import Ledger, LedgerReader

from .hops import Hops

log = structlog.get_logger()


async def reroute(ledger: Ledger, reader: LedgerReader, hops: Hops, lane: str) -> list[str]:
    """The lanes that mail of `lane` waits for now. Raises what the ledger raises."""
    found: set[str] = set()
    for domain in await reader.waiting_domains(lane):
        other = hops.usable_lane(lane, domain)
        if other is not None and other != lane:
            moved = await ledger.call(partial(_move, lane=lane, domain=domain, to=other))
            log.warning("deliveries_rerouted", lane=lane, domain=domain, to=other, deliveries=moved)
            found.add(other)
    return sorted(found)


def _move(connection: sqlite3.Connection, *, lane: str, domain: str, to: str) -> int:
    return connection.execute(
        "UPDATE delivery SET lane = ? WHERE lane = ? AND domain = ?"
        " AND state IN ('queued', 'deferred', 'shielded', 'outcome_unknown')",
        (to, lane, domain),
    ).rowcount
