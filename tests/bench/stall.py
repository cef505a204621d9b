"""The longest that one sender waits for a 250 while all the work goes on that must not gate it (DESIGN §6).

A gateway starts on data whose oldest days are beyond retention, so that one of them is removed while the sender goes
on at 100 messages a second: these are filed, digested, indexed, and fill the log that is checkpointed every other
second. That each of the four happened is checked; a run in which one did not is no measurement.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bench.loader import Plan, address
from bench.rounds import Line, alone, share
from bench.steady import Steady
from bench.stores import kept_aside, loaded_gateway, put_back, scaled, wait_until_idle
from testkit.gateway import Gateway
from testkit.ports import free_port

COPIES, MAILBOXES = 400_000, 20_000
DAYS, KEPT_DAYS = 40, 30
RETENTION = f"[retention]\ndays = {KEPT_DAYS}"
PER_SECOND, SECONDS = 100.0, 20.0
LEAST_S = 3.0
GOAL_MS = 500.0
ROUNDS = 3


def stall(rounds: int, scale: float) -> Iterator[Line]:
    """The worst wait of each run; the least good of them is held against the goal."""
    mailboxes = scaled(MAILBOXES, scale)
    plan = Plan(scaled(COPIES, scale), mailboxes, days=DAYS)
    waits: list[list[float]] = []
    with loaded_gateway(plan, free_port(), more=RETENTION, started=False) as gateway, kept_aside(gateway) as aside:
        for _ in range(min(rounds, ROUNDS)):
            put_back(gateway, aside)
            waits.append(_waits_ms(gateway, max(LEAST_S, SECONDS * scale), mailboxes))
    everything = [wait for run in waits for wait in run]
    more = {"p99": share(everything, 0.99), "median": share(everything, 0.5), "messages": float(len(everything))}
    name = f"longest wait for a 250 while {plan.copies // DAYS:,} copies expire"
    yield alone(name, "ms", [max(run) for run in waits], GOAL_MS, counts="max", more=more)


def _waits_ms(gateway: Gateway, seconds: float, mailboxes: int) -> list[float]:
    """Milliseconds from each final dot to its 250, in one life of the gateway."""
    days, ledger = _days(gateway.data), (gateway.data / "ledger.db").stat().st_mtime_ns
    gateway.start()
    gateway.api("POST", "/events", json={"scope": "all", "reason": "measuring"})
    sender = Steady(gateway.mx, PER_SECOND, seconds, lambda number: address(number % mailboxes))
    sender.start()
    sent = sender.result()
    checkpointed = (gateway.data / "ledger.db").stat().st_mtime_ns != ledger
    wait_until_idle(gateway)
    gone = days - _days(gateway.data)
    gateway.kill()
    if not gone or not checkpointed:
        raise AssertionError(f"not all the work was done: days removed {sorted(gone)}, checkpoint {checkpointed}")
    return [one.took_s * 1000 for one in sent]


def _days(data_dir: Path) -> set[str]:
    return {entry.name for entry in (data_dir / "bodies").iterdir()}
