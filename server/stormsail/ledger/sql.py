"""The ledger's statements on the writer's connection, one function a kind of job."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from stormsail.domain.states import DeliveryInput, DeliveryState, step
from stormsail.store import BodyRef, execute_rows, returning_rows

from .values import Acceptance, Change

INSERT_MESSAGE = (
    "INSERT INTO message (id, direction, reverse_path, received_at, peer, helo, tls, author, flags, recipients,"
    " size, head, day, file, offset) VALUES {rows}"
)
INSERT_DELIVERY = (
    "INSERT INTO delivery (id, message_id, recipient, mailbox, domain, segment, known, lane, state, due_at,"
    " attempts, first_attempt_at, first_event, kept_by, reply, changed_at) VALUES {rows}"
)
INSERT_UNCONFIRMED = "INSERT OR IGNORE INTO unconfirmed (hash, message_id, at) VALUES {rows}"
DELETE_UNCONFIRMED = "DELETE FROM unconfirmed WHERE (hash, message_id) IN (VALUES {rows})"
UPDATE_DELIVERIES = (
    "UPDATE delivery SET state = v.column3, due_at = coalesce(v.column4, due_at), attempts = attempts + v.column5,"
    " first_attempt_at = CASE WHEN v.column6 THEN first_attempt_at WHEN state = 'held' THEN v.column7"
    " ELSE coalesce(first_attempt_at, v.column7) END, first_event = coalesce(first_event, v.column8),"
    " kept_by = v.column9, marked = marked OR v.column10,"
    " reply = CASE WHEN v.column11 = '' THEN reply ELSE v.column11 END, changed_at = v.column12"
    " FROM (VALUES {rows}) AS v WHERE delivery.id = v.column1 AND delivery.state = v.column2"
    " AND delivery.attempts = coalesce(v.column13, delivery.attempts) RETURNING delivery.id"
)
"""What `_moved` gives for each change."""
INSERT_TRANSITION = (
    "INSERT INTO transition (delivery_id, at, input, state, actor, remote, reply, latency_ms, event_id) VALUES {rows}"
)
ADD_TALLY = (
    "INSERT INTO tally (state, deliveries) VALUES {rows}"
    " ON CONFLICT (state) DO UPDATE SET deliveries = deliveries + excluded.deliveries"
)


MARK_SEGMENT = (
    "INSERT INTO segment (day, file, upto) VALUES {rows}"
    " ON CONFLICT (day, file) DO UPDATE SET upto = max(upto, excluded.upto)"
)


def mark_segment(connection: sqlite3.Connection, day: str, file: str, upto: int) -> None:
    """Everything of the segment before `upto` is in the ledger."""
    execute_rows(connection, MARK_SEGMENT, [(day, file, upto)])


def insert_acceptances(connection: sqlite3.Connection, accepted: Sequence[tuple[Acceptance, BodyRef]]) -> None:
    """Messages with their deliveries and the fingerprints of those whose 250 is still on its way."""
    messages, deliveries, hashes = [], [], []
    tally: Counter[str] = Counter()
    for one, ref in accepted:
        at = one.received_at
        messages.append(
            (one.id, one.direction, one.reverse_path, at, one.peer, one.helo, one.tls, one.author, int(one.flags))
            + (len(one.deliveries), one.size, one.head, ref.day, ref.file, ref.offset)
        )
        for number, planned in enumerate(one.deliveries, 1):
            active = planned.state is DeliveryState.ACTIVE
            deliveries.append(
                (one.id + number, one.id, planned.recipient, planned.mailbox, planned.domain, planned.segment)
                + (planned.known, planned.lane, planned.state, at, int(active), at if active else None)
                + (planned.kept_by, planned.kept_by, planned.reply, at)
            )
            tally[planned.state] += 1
        hashes += [(fingerprint, one.id, at) for fingerprint in one.fingerprints]
    execute_rows(connection, INSERT_MESSAGE, messages)
    execute_rows(connection, INSERT_DELIVERY, deliveries)
    execute_rows(connection, INSERT_UNCONFIRMED, hashes)
    execute_rows(connection, ADD_TALLY, list(tally.items()))


def apply_changes(connection: sqlite3.Connection, changes: Sequence[Change]) -> list[bool]:
    """Moves deliveries by compare-and-set; False for each that was no longer as expected or may not move so.

    What was held starts its time limits anew: time held does not count (DESIGN §3.10).
    """
    done = [False] * len(changes)
    for run in _runs(changes):
        moved = {row[0] for row in returning_rows(connection, UPDATE_DELIVERIES, [_moved(changes[at]) for at in run])}
        for at in run:
            done[at] = changes[at].delivery_id in moved
    transitions = []
    tally: Counter[str] = Counter()
    for change in (change for change, moved in zip(changes, done, strict=True) if moved):
        target = step(change.expected, change.happened)
        assert target is not None
        tally[change.expected] -= 1
        tally[target] += 1
        transitions.append(
            (change.delivery_id, change.at, change.happened, target, change.actor, change.remote, change.reply)
            + (change.latency_ms, change.event_id)
        )
    execute_rows(connection, INSERT_TRANSITION, transitions)
    execute_rows(connection, ADD_TALLY, [(state, count) for state, count in tally.items() if count])
    return done


def _runs(changes: Sequence[Change]) -> Iterator[list[int]]:
    """The positions of possible changes, in order; those of one run are of different deliveries."""
    run: dict[int, int] = {}
    for at, change in enumerate(changes):
        if step(change.expected, change.happened) is None:
            continue
        if change.delivery_id in run:
            yield list(run.values())
            run = {}
        run[change.delivery_id] = at
    if run:
        yield list(run.values())


def _moved(change: Change) -> tuple[Any, ...]:
    target = step(change.expected, change.happened)
    assert target is not None
    starts = change.happened is DeliveryInput.START
    return (
        change.delivery_id, change.expected, target, change.due_at, int(starts), change.happened is DeliveryInput.KEEP,
        change.at if starts else None, change.event_id, _kept_by(change, target), change.marked, change.reply,
        change.at, change.attempt,
    )  # fmt: skip


def _kept_by(change: Change, target: DeliveryState) -> int | None:
    return change.event_id if target is DeliveryState.HELD else None
