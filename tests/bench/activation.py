"""Taking over with a long queue: how long an activation takes, and a start, with 500,000 queued deliveries (DESIGN §7).

The primary does not answer: the deliveries are queued and the gateway is trying them, as in the outage in which
somebody presses the button. Each round begins with the same data.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.loader import Plan
from bench.rounds import Line, alone
from bench.stores import kept_aside, loaded_gateway, put_back, scaled, start_s
from testkit.gateway import Gateway
from testkit.ports import free_port

DELIVERIES, MAILBOXES, FAN_OUT = 500_000, 20_000, 10
GOAL_S = 1.0
ROUNDS = 3


def activation(rounds: int, scale: float) -> Iterator[Line]:
    """By API, by command line with the start of its program, and the start of the gateway before."""
    count = scaled(DELIVERIES, scale) // FAN_OUT * FAN_OUT
    mailboxes = scaled(MAILBOXES, scale)
    plan = Plan(count, mailboxes, FAN_OUT, open_deliveries=count, days=2)
    starts: list[float] = []
    by_api: list[float] = []
    by_command: list[float] = []
    with loaded_gateway(plan, free_port(), started=False) as gateway, kept_aside(gateway) as aside:
        for _ in range(min(rounds, ROUNDS)):
            for figures, activate in ((by_api, _by_api), (by_command, _by_command)):
                put_back(gateway, aside)
                starts.append(start_s(gateway))
                figures.append(activate(gateway))
                _check(gateway, count)
                gateway.kill()
    where = f"{mailboxes:,} mailboxes, {count:,} queued"
    yield alone(f"activate by API, {where}", "s", by_api, GOAL_S, counts="max")
    yield alone(f"activate by command, {where}", "s", by_command, GOAL_S, counts="max")
    yield alone(f"start of the gateway, {where}", "s", starts)


def _by_api(gateway: Gateway) -> float:
    began = time.perf_counter()
    gateway.api("POST", "/events", json={"scope": "all", "reason": "measuring"})
    return time.perf_counter() - began


def _by_command(gateway: Gateway) -> float:
    began = time.perf_counter()
    done = gateway.cli("activate", "--scope", "all", "--reason", "measuring")
    took = time.perf_counter() - began
    if done.returncode != 0:
        raise AssertionError(done.stderr.decode())
    return took


def _check(gateway: Gateway, count: int) -> None:
    """The event is active, and every delivery is still open."""
    status = gateway.status()
    waiting = sum(number for state, number in status["queue"].items() if state != "oldest_age_s")
    if [event["state"] for event in status["events"]] != ["active"] or waiting != count:
        raise AssertionError(f"the event does not cover the queue: {status['events']}, {waiting} of {count}")
