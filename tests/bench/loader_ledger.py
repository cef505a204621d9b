"""The loader's `ledger.db`: messages with their deliveries, the moves of those that are final, sums, an event.

In: the plan and where the bodies are. Out: the database, filled by statements that make the rows themselves, which is
several times as fast as handing them over one by one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from bench.loader import DOMAIN, LANE, RECIPIENT, SEGMENTS, Plan, Times, filling
from stormsail.domain.ids import COUNTER_BITS
from stormsail.ledger.ledger import MIGRATIONS
from stormsail.store import BodyRef

HEAD = b"Received: from mail.elsewhere.example (192.0.2.1) by mx.example.com with ESMTP\r\n" * 2
COUNT = "WITH RECURSIVE count (n) AS (SELECT ? UNION ALL SELECT n + 1 FROM count WHERE n + 1 < ?)"
MESSAGES = (
    f"{COUNT} INSERT INTO message SELECT (? + n * ?) << {COUNTER_BITS}, 'mx', 'a@elsewhere.example', ? + n * ?,"
    " '192.0.2.1', 'mail.elsewhere.example', '', NULL, 0, ?, ?, ?, ?, ?, ? FROM count"
)
RECIPIENTS = "CREATE TEMP TABLE place (k INTEGER PRIMARY KEY)"
MAILBOX = "CASE WHEN k = 0 AND n % :every = 0 THEN 0 ELSE 1 + (n * :fan_out + k) % (:mailboxes - 1) END"
"""The mailbox of recipient `k` of message `n`."""
DELIVERIES = f"""
INSERT INTO delivery
SELECT id + k + 1, id, box || '{RECIPIENT}', box || '{RECIPIENT}', '{DOMAIN}', 's' || (box % {SEGMENTS}), 1, '{LANE}',
    CASE WHEN waits THEN :open_state ELSE 'relayed' END, received_at, CASE WHEN waits THEN 0 ELSE 1 END,
    CASE WHEN waits THEN NULL ELSE received_at END, :event, CASE WHEN waits THEN :event END, 0,
    CASE WHEN waits THEN '' ELSE '250 2.0.0 Ok: queued' END, received_at
FROM (SELECT *, {MAILBOX} AS box, n * :fan_out >= :open_from AS waits
    FROM (SELECT id, received_at, (received_at - :first) / :step AS n FROM message) CROSS JOIN place)
"""
TRANSITIONS = (
    "INSERT INTO transition (delivery_id, at, input, state, actor, remote, reply, latency_ms, event_id)"
    " SELECT id, changed_at, 'take_by_primary', state, 'delivery', '192.0.2.9', reply, 20, NULL"
    " FROM delivery WHERE state = 'relayed'"
)


def load_ledger(data_dir: Path, plan: Plan, times: Times, bodies: Sequence[BodyRef]) -> None:
    """Makes and fills `ledger.db`."""
    with filling(data_dir / "ledger.db", MIGRATIONS) as connection:
        for day, ref in enumerate(bodies):
            numbers = times.numbers_of(day, plan.messages)
            if numbers:
                values = (numbers.start, numbers.stop, times.first, times.step, times.first, times.step)
                connection.execute(MESSAGES, (*values, plan.fan_out, ref.length, HEAD, ref.day, ref.file, ref.offset))
        connection.execute(RECIPIENTS)
        connection.executemany("INSERT INTO place VALUES (?)", [(k,) for k in range(plan.fan_out)])
        event = _start_event(connection, plan, times)
        connection.execute(DELIVERIES, {**_numbers(plan, times), "open_state": plan.open_state, "event": event})
        connection.execute(TRANSITIONS)
        connection.execute("INSERT INTO tally SELECT state, count(*) FROM delivery GROUP BY state")


def _numbers(plan: Plan, times: Times) -> dict[str, int]:
    return {
        "first": times.first,
        "step": times.step,
        "fan_out": plan.fan_out,
        "every": plan.every,
        "mailboxes": plan.mailboxes,
        "open_from": plan.messages * plan.fan_out - plan.open_deliveries,
    }


def _start_event(connection: sqlite3.Connection, plan: Plan, times: Times) -> int | None:
    """Where deliveries are to be held, the event that holds them; all that were relayed were held by it first."""
    if plan.open_state != "held":
        return None
    event, at = (times.first - 1) << COUNTER_BITS, times.first - 1
    connection.execute(
        "INSERT INTO event (id, scope, reason, state, started_at, started_by) VALUES (?, 'all', 'loaded', 'active', ?, '')",
        (event, at),
    )
    connection.execute(
        "INSERT INTO event_entry (event_id, at, kind, actor, detail) VALUES (?, ?, 'activated', '', 'loaded')",
        (event, at),
    )
    return event
