"""What grows with the mail that is kept: the same work at 1,000, 100,000 and 6,000,000 copies (DESIGN §6, §7).

In each store mailbox 0 has up to 100,000 messages of a month. Its first page and searches in it are asked for by the
API; messages are taken for everybody in turn, under an event and relayed. The three gateways stand beside each other
and are measured in turn, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from bench.loader import RECIPIENT, Plan
from bench.rounds import Line, alone
from bench.source import source_to
from bench.stores import QUERIES, list_ms, loaded_gateway, queries, reader_of, scaled, wait_until_idle
from testkit.gateway import Gateway
from testkit.sink import running_sink
from testkit.waiting import wait_until

SIZES = ((1_000, 1), (100_000, 1), (6_000_000, 10))
"""Copies in all, and how many of them belong to one message."""
MAILBOXES = 20_000
MESSAGES, SESSIONS, OCTETS = 3_000, 50, 4096
ROUNDS = 3
PAGE_GOAL_MS, SEARCH_GOAL_MS, GROWTH_GOAL = 50.0, 200.0, 1.25

Work = Callable[[Gateway, int], float]


def sizes(rounds: int, scale: float) -> Iterator[Line]:
    """First pages and searches at each size; how much slower taking and relaying are than at the least size."""
    mailboxes, messages = scaled(MAILBOXES, scale), scaled(MESSAGES, scale, 20)
    plans = [Plan(scaled(copies, scale) // fan * fan, mailboxes, fan) for copies, fan in SIZES]
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        gateways = [stack.enter_context(loaded_gateway(plan, sink)) for plan in plans]
        for plan, gateway in zip(plans, gateways, strict=True):
            yield from _reading(plan, gateway)
        yield from _growth("relay", plans, _rates(gateways, _relay, min(rounds, ROUNDS), messages))
        for gateway in gateways:
            gateway.api("POST", "/events", json={"scope": "all", "reason": "measuring"})
        yield from _growth("accept", plans, _rates(gateways, _accept, min(rounds, ROUNDS), messages))


def _reading(plan: Plan, gateway: Gateway) -> Iterator[Line]:
    """The first call of each kind counts too: nobody has a warm-up at their mailbox."""
    held = min(plan.messages, (plan.messages - 1) // plan.every + 1)
    where = f"{held:,} messages, {plan.copies:,} copies in all"
    with reader_of(gateway, 0) as client:
        pages = [list_ms(client, 0) for _ in range(QUERIES)]
        yield alone(f"first page of {where}", "ms", pages, PAGE_GOAL_MS, counts="max")
        asked = {query: list_ms(client, 0, query) for query in queries()}
        slowest = max(asked, key=lambda query: asked[query])
        more = {f"slowest, {slowest}": asked[slowest]}
        yield alone(f"search in {where}", "ms", list(asked.values()), SEARCH_GOAL_MS, counts="max", more=more)


def _rates(gateways: list[Gateway], work: Work, rounds: int, messages: int) -> list[list[float]]:
    """Messages a second of each gateway in each round, after one that does not count."""
    for gateway in gateways:
        work(gateway, messages)
    found: list[list[float]] = [[] for _ in gateways]
    for number in range(rounds):
        order = range(len(gateways)) if number % 2 == 0 else reversed(range(len(gateways)))
        for place in order:
            found[place].append(work(gateways[place], messages))
    return found


def _growth(name: str, plans: list[Plan], rates: list[list[float]]) -> Iterator[Line]:
    """How many times as long a message takes as at the least size, round by round."""
    for plan, ours in zip(plans[1:], rates[1:], strict=True):
        times = [least / one for least, one in zip(rates[0], ours, strict=True)]
        more = {
            f"messages/s at {plans[0].copies:,}": sum(rates[0]) / len(rates[0]),
            f"messages/s at {plan.copies:,}": sum(ours) / len(ours),
        }
        title = f"{name} 4 KiB at {plan.copies:,} copies, time over {plans[0].copies:,}"
        yield alone(title, "times", times, GROWTH_GOAL, more=more)


def _accept(gateway: Gateway, messages: int) -> float:
    rate = messages / source_to(gateway.mx, messages, SESSIONS, OCTETS, RECIPIENT, "-d", "-N")
    wait_until_idle(gateway)
    return rate


def _relay(gateway: Gateway, messages: int) -> float:
    """Until the last one is at the next hop."""
    before = gateway.status()["totals"]["relayed"]
    took = source_to(gateway.mx, messages, SESSIONS, OCTETS, RECIPIENT, "-d", "-N")
    took += _seconds_until(lambda: gateway.status()["totals"]["relayed"] - before >= messages)
    wait_until_idle(gateway)
    return messages / took


def _seconds_until(reached: Callable[[], bool]) -> float:
    began = time.perf_counter()
    wait_until(reached, "all to be relayed", 300)
    return time.perf_counter() - began
