"""Ours beside a private Postfix of the same machine: durable accepts, and relays from end to end (DESIGN §7).

Both run with everything on that they have by default. Postfix takes the accepts into its hold queue, we take them
under an event that covers everybody; both answer 250 only when the message is on stable storage. The sender is
Postfix's smtp-source, the next hop its smtp-sink. Making copies readable gives way to accepts and goes on behind them;
each measurement begins when that is done, so that neither side pays for what the other left behind.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import msgspec

from bench.rounds import Line, compare
from bench.source import source_to
from bench.stores import wait_until_idle
from testkit.gateway import Gateway, running_gateway
from testkit.postfix import Postfix, holding, running_postfix, sender_to
from testkit.sink import running_sink
from testkit.waiting import wait_until

RECIPIENT = "ann@example.com"


class Load(msgspec.Struct, frozen=True):
    """What is sent to both sides: `messages` to ours, a part of them to theirs, which takes about as long."""

    size: int
    sessions: int
    messages: int
    goal: float
    reuse: bool = True
    """Sessions are kept; else each message has a connection of its own."""

    @property
    def words(self) -> str:
        sessions = f"{self.sessions} session{'s' if self.sessions > 1 else ''}"
        return f"{self.size // 1024} KiB, {sessions}, {'reused' if self.reuse else 'a connection a message'}"

    def scaled(self, scale: float) -> Load:
        return msgspec.structs.replace(self, messages=max(4, int(self.messages * scale)))

    @property
    def theirs(self) -> int:
        """How many messages Postfix gets."""
        return max(1, int(self.messages / self.goal))

    def send(self, port: int, messages: int) -> float:
        """Messages a second that smtp-source gets rid of."""
        more = ["-d"] if self.reuse else []
        return messages / source_to(port, messages, self.sessions, self.size, RECIPIENT, *more)


ACCEPTS = (Load(4096, 50, 8000, 4.0), Load(4096, 1, 1500, 2.0))
CONNECTIONS = (Load(4096, 50, 4000, 2.0, reuse=False),)
RELAYS = (Load(4096, 50, 4000, 5.0), Load(20_480, 50, 3000, 5.0), Load(204_800, 50, 400, 2.0))


def accepts(rounds: int, scale: float) -> Iterator[Line]:
    """Durable accepts at 4 KiB, over 50 sessions and over one, each session kept for many messages."""
    yield from _accepts(ACCEPTS, rounds, scale)


def connections(rounds: int, scale: float) -> Iterator[Line]:
    """Durable accepts at 4 KiB, each over a connection of its own, 50 at a time."""
    yield from _accepts(CONNECTIONS, rounds, scale)


def _accepts(loads: tuple[Load, ...], rounds: int, scale: float) -> Iterator[Line]:
    with running_gateway(primary=1, outside=1) as gateway, running_postfix(holding()) as postfix:
        hold_everything(gateway)
        for load in (one.scaled(scale) for one in loads):
            ours = partial(accepted_by_us, gateway, load)
            theirs = partial(load.send, postfix.port, load.theirs)
            yield compare(f"accept {load.words}", "messages/s", load.goal, rounds, ours, theirs)


def relays(rounds: int, scale: float) -> Iterator[Line]:
    """From the first byte of the sender to the last message at the next hop, at three sizes."""
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        gateway = stack.enter_context(running_gateway(primary=sink, outside=sink))
        postfix = stack.enter_context(running_postfix(sender_to(sink)))
        for load in (one.scaled(scale) for one in RELAYS):
            ours, theirs = partial(relayed_by_us, gateway, load), partial(relayed_by_postfix, postfix, load)
            yield compare(f"relay {load.words}", "messages/s", load.goal, rounds, ours, theirs)


def hold_everything(gateway: Gateway) -> None:
    """From now on everything is kept, as Postfix's hold queue does."""
    gateway.api("POST", "/events", json={"scope": "all", "reason": "measuring"})


def accepted_by_us(gateway: Gateway, load: Load) -> float:
    """Messages a second; returns when all of them are readable."""
    rate = load.send(gateway.mx, load.messages)
    wait_until_idle(gateway)
    return rate


def relayed_by_us(gateway: Gateway, load: Load) -> float:
    """Messages a second to the next hop; returns when all of them are readable."""
    before = gateway.status()["totals"]["relayed"]
    began = time.perf_counter()
    load.send(gateway.mx, load.messages)
    wait_until(lambda: gateway.status()["totals"]["relayed"] - before >= load.messages, "all to be relayed", 300)
    rate = load.messages / (time.perf_counter() - began)
    wait_until_idle(gateway)
    return rate


def relayed_by_postfix(postfix: Postfix, load: Load) -> float:
    """Messages a second to the next hop."""
    messages = max(1, load.messages // 2)
    began = time.perf_counter()
    load.send(postfix.port, messages)
    wait_until(
        lambda: not any(postfix.queued_files(name) for name in ("incoming", "active", "deferred")), "Postfix", 300
    )
    return messages / (time.perf_counter() - began)
