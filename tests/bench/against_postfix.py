"""Ours beside a private Postfix of the same machine: durable accepts, and relays from end to end (DESIGN §7).

Both run with everything on that they have by default. Postfix takes the accepts into its hold queue, we take them
under an event that covers everybody; both answer 250 only when the message is on stable storage. The sender is
Postfix's smtp-source, the next hop its smtp-sink. Making copies readable gives way to accepts and goes on behind them;
each measurement begins when that is done, so that neither side pays for what the other left behind.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench.rounds import Line, compare
from testkit.gateway import Gateway, running_gateway
from testkit.postfix import Postfix, holding, running_postfix, sender_to
from testkit.realparts import program
from testkit.sink import running_sink
from testkit.waiting import wait_until

RECIPIENT = "ann@example.com"


def source(port: int, messages: int, sessions: int, size: int, reuse: bool) -> float:
    """Messages a second that smtp-source gets rid of."""
    command = [program("smtp-source"), "-s", str(sessions), "-m", str(messages), "-l", str(size)]
    command += ["-f", "a@example.org", "-t", RECIPIENT, *(["-d"] if reuse else []), f"127.0.0.1:{port}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return messages / (time.perf_counter() - began)


def accepts(rounds: int, scale: float) -> list[Line]:
    """Durable accepts at 4 KiB, over 50 sessions and over one, each session kept for many messages."""
    lines: list[Line] = []
    with _gateway(1) as gateway, running_postfix(holding()) as postfix:
        gateway.cli_json("activate", "--scope", "all", "--reason", "measuring")
        for sessions, messages, goal in ((50, 8000, 4.0), (1, 1500, 2.0)):
            ours, theirs = int(messages * scale), max(1, int(messages * scale / goal))
            name = f"accept 4 KiB, {sessions} session{'s' if sessions > 1 else ''}, reused"
            lines.append(
                compare(
                    name,
                    "messages/s",
                    goal,
                    rounds,
                    _accepting(gateway, ours, sessions),
                    lambda theirs=theirs, sessions=sessions: source(postfix.port, theirs, sessions, 4096, True),  # type: ignore[misc]
                )
            )
    return lines


def relays(rounds: int, scale: float) -> list[Line]:
    """From the first byte of the sender to the last message at the next hop, at three sizes."""
    lines: list[Line] = []
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        gateway = stack.enter_context(_gateway(sink))
        postfix = stack.enter_context(running_postfix(sender_to(sink)))
        for size, messages, goal in ((4096, 4000, 5.0), (20480, 3000, 5.0), (204_800, 400, 2.0)):
            count = int(messages * scale)
            name = f"relay {size // 1024} KiB, 50 sessions, reused"
            theirs = max(1, int(count / 2))
            lines.append(
                compare(
                    name,
                    "messages/s",
                    goal,
                    rounds,
                    lambda count=count, size=size: _relayed_by_us(gateway, count, size),  # type: ignore[misc]
                    lambda theirs=theirs, size=size: _relayed_by_postfix(postfix, theirs, size),  # type: ignore[misc]
                )
            )
    return lines


def _accepting(gateway: Gateway, messages: int, sessions: int) -> Callable[[], float]:
    def measure() -> float:
        rate = source(gateway.mx, messages, sessions, 4096, True)
        wait_until_idle(gateway)
        return rate

    return measure


def wait_until_idle(gateway: Gateway) -> None:
    """Until every message has its copy and every copy is readable."""

    def idle() -> bool:
        [copies] = [one for one in gateway.status()["own_health"] if one["name"] == "copies"]
        return str(copies["detail"]).startswith("0 messages to file, 0 to prepare")

    wait_until(idle, "the copies", 300)


@contextmanager
def _gateway(primary: int) -> Iterator[Gateway]:
    with running_gateway(primary=primary, outside=primary) as gateway:
        yield gateway


def _relayed_by_us(gateway: Gateway, messages: int, size: int) -> float:
    before = gateway.status()["totals"]["relayed"]
    began = time.perf_counter()
    source(gateway.mx, messages, 50, size, True)
    wait_until(lambda: gateway.status()["totals"]["relayed"] - before >= messages, "all to be relayed", 300)
    rate = messages / (time.perf_counter() - began)
    wait_until_idle(gateway)
    return rate


def _relayed_by_postfix(postfix: Postfix, messages: int, size: int) -> float:
    began = time.perf_counter()
    source(postfix.port, messages, 50, size, True)
    wait_until(
        lambda: not any(postfix.queued_files(name) for name in ("incoming", "active", "deferred")), "Postfix", 300
    )
    return messages / (time.perf_counter() - began)
