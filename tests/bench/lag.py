"""How long after its 250 a message can be read, at 50 a second and after a burst (DESIGN §6).

Looked at in `mail.db` itself every 20 ms, read-only: asking by the API would put the mailbox that is asked for first.
At the end the API has to show what the database said.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.loader import RECIPIENT, Plan, address
from bench.rounds import Line, alone, share
from bench.source import letters_to, run
from bench.steady import Sent, Steady
from bench.stores import loaded_gateway, reader_of, scaled
from testkit.gateway import Gateway
from testkit.ports import free_port
from testkit.waiting import wait_until

PER_SECOND, SECONDS = 50.0, 60.0
GOAL_S = 5.0
BURST, SESSIONS = 10_000, 50
BURST_OCTETS = 4096
STORED, MAILBOXES = 100_000, 20_000
LOOK_S = 0.02
PATIENCE_S = 600


def lag(_rounds: int, scale: float) -> Iterator[Line]:
    """Two lines: the 99th of 100 at a steady pace, and the time to catch up."""
    mailboxes = scaled(MAILBOXES, scale)
    with loaded_gateway(Plan(scaled(STORED, scale), mailboxes), free_port()) as gateway:
        gateway.api("POST", "/events", json={"scope": "all", "reason": "measuring"})
        lags = _steady_lags(gateway, max(2.0, SECONDS * scale), mailboxes)
        more = {"median": share(lags, 0.5), "worst": max(lags)}
        yield alone("readable after its 250, p99 at 50 messages/s", "s", [share(lags, 0.99)], GOAL_S, more=more)
        burst = min(scaled(BURST, scale), mailboxes - 1)
        sent_s, caught_s = _burst(gateway, burst)
        more = {"messages/s taken": burst / sent_s, "messages/s made readable": burst / (sent_s + caught_s)}
        yield alone(f"readable after the last 250 of a burst of {burst:,}", "s", [caught_s], more=more)


def _steady_lags(gateway: Gateway, seconds: float, mailboxes: int) -> list[float]:
    """Seconds from each 250 until the message was readable, the first second left out: processes wake up then."""
    ready: dict[int, float] = {}
    sender = Steady(gateway.mx, PER_SECOND, seconds, lambda number: address(number % mailboxes))
    with closing(_look_into(gateway.data)) as connection:
        start = _newest(connection)
        sender.start()
        while sender.is_alive() or not _all_ready(sender.sent, ready):
            _note_ready(connection, start, ready)
            if sender.sent and time.time() - sender.sent[-1].at > PATIENCE_S:
                raise AssertionError(f"{len(sender.sent) - len(ready)} messages never became readable")
            time.sleep(LOOK_S)
    sent = sender.result()
    _check_readable(gateway, sent[0], address(0))
    return [max(0.0, ready[one.message_id] - one.at) for one in sent[int(PER_SECOND) :]]


def _all_ready(sent: list[Sent], ready: dict[int, float]) -> bool:
    return len(ready) >= len(sent) and all(one.message_id in ready for one in sent)


def _note_ready(connection: sqlite3.Connection, start: int, ready: dict[int, float]) -> None:
    """Writes down when a message was first seen readable."""
    rows = connection.execute("SELECT id FROM message WHERE id > ? AND state != 'preparing'", (start,)).fetchall()
    now = time.time()
    for (number,) in rows:
        ready.setdefault(number, now)


def _burst(gateway: Gateway, messages: int) -> tuple[float, float]:
    """Seconds that it took to send, and from then on until all is readable."""
    command = letters_to(
        gateway.mx,
        gateway.folder,
        1,
        octets=BURST_OCTETS,
        messages=messages,
        sessions=SESSIONS,
        recipient=RECIPIENT,
    )
    with closing(_look_into(gateway.data)) as connection:
        start = _newest(connection)
        took = run(command)
        sent = time.perf_counter()
        readable = "SELECT count(*) FROM message WHERE id > ? AND state != 'preparing'"
        wait_until(lambda: connection.execute(readable, (start,)).fetchone()[0] >= messages, "the burst", PATIENCE_S)
        return took, time.perf_counter() - sent


def _look_into(data_dir: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{data_dir / 'mail.db'}?mode=ro", uri=True, isolation_level=None, timeout=10)


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM message").fetchone()[0])


def _check_readable(gateway: Gateway, sent: Sent, owner: str) -> None:
    """The first one, which went to mailbox 0, as its owner sees it."""
    with reader_of(gateway, 0) as client:
        newest = client.get(f"/mailboxes/{owner}/messages").json()["messages"]
        shown = [client.get(f"/messages/{one['id']}").json() for one in newest[:5]]
    if not any(view["text"] and view["message"]["subject"] for view in shown):
        raise AssertionError(f"what is said to be readable is not, message {sent.message_id}")
