"""The most memory the gateway takes while much mail of all sizes is held and then handed back.

In: 100,000 messages, nearly all small, some of 64 KiB and 1 MiB, a few of 25 MB, several of each at the same time. Out:
peak resident memory of the gateway's process, and of its digest children beside it. The limit is what the settings
promise (`limits.data_memory`, 256 MiB) and as much again for programs, databases' caches and queues.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec

from bench.against_postfix import hold_everything
from bench.loader import RECIPIENT, directory_csv
from bench.processes import children_of, peak_rss_mib, rss_mib, sampling
from bench.rounds import Line, alone
from bench.source import letters_to, run
from bench.stores import scaled, wait_until_idle
from testkit.gateway import Gateway, running_gateway
from testkit.sink import running_sink
from testkit.waiting import wait_until

GOAL_MIB = 512.0
MAILBOXES = 20_000
DRAIN = "drain = { messages_per_mailbox_hour = 0 }"
SAMPLE_S = 0.2
PATIENCE_S = 900


class Kind(msgspec.Struct, frozen=True):
    """So many messages of so many octets, over so many sessions at a time."""

    octets: int
    messages: int
    sessions: int


KINDS = (Kind(4 << 10, 97_000, 30), Kind(64 << 10, 2_700, 6), Kind(1 << 20, 280, 3), Kind(25_000_000, 20, 4))


def memory(_rounds: int, scale: float) -> Iterator[Line]:
    """One line: the gateway's peak; what it had at the start, while holding and beside it is told."""
    kinds = [msgspec.structs.replace(kind, messages=scaled(kind.messages, scale, 2)) for kind in KINDS]
    count = sum(kind.messages for kind in kinds)
    with ExitStack() as stack:
        gateway = stack.enter_context(_roomy_gateway(stack.enter_context(running_sink())))
        hold_everything(gateway)
        base = rss_mib(gateway.pid)
        with sampling(lambda: sum(rss_mib(child) for child in children_of(gateway.pid)), SAMPLE_S) as children:
            _send_all(gateway, kinds)
            held = peak_rss_mib(gateway.pid)
            _drain(gateway, count)
            wait_until_idle(gateway, PATIENCE_S)
        more = {
            "MiB at the start": base,
            "MiB at most while holding": held,
            "MiB at the end": rss_mib(gateway.pid),
            "MiB at most of the digest children": max(children.values),
        }
        peak = peak_rss_mib(gateway.pid)
    yield alone(f"peak memory, {count:,} messages of 4 KiB to 25 MB held, drained", "MiB", [peak], GOAL_MIB, more=more)


@contextmanager
def _roomy_gateway(primary: int) -> Iterator[Gateway]:
    """Many mailboxes, and a primary that takes held mail without a pace."""
    with running_gateway(primary=primary, outside=primary, started=False) as gateway:
        (gateway.folder / "mailboxes.csv").write_text(directory_csv(MAILBOXES))
        gateway.configure(primary=primary, outside=primary, primary_more=DRAIN)
        gateway.start()
        yield gateway


def _send_all(gateway: Gateway, kinds: list[Kind]) -> None:
    """All kinds at the same time, in parts: smtp-source counts recipients by itself, and they must stay known here."""
    waiting = [kind.messages for kind in kinds]
    for part in itertools.count():
        if not any(waiting):
            return
        now = [min(left, MAILBOXES // 2) for left in waiting]
        waiting = [left - some for left, some in zip(waiting, now, strict=True)]
        commands = [_command(gateway, part, kind, some) for kind, some in zip(kinds, now, strict=True) if some]
        run(*commands)


def _command(gateway: Gateway, part: int, kind: Kind, messages: int) -> list[str]:
    folder, octets, sessions = gateway.folder, kind.octets, kind.sessions
    return letters_to(
        gateway.mx, folder, part, octets=octets, messages=messages, sessions=sessions, recipient=RECIPIENT
    )


def _drain(gateway: Gateway, count: int) -> None:
    """Ends the event and waits until everything is with the primary."""
    [event] = gateway.status()["events"]
    gateway.api("POST", f"/events/{event['id']}/end")

    def done() -> bool:
        return int(gateway.status()["totals"]["relayed"]) >= count

    wait_until(done, "the drain", PATIENCE_S, lambda: f"{gateway.totals()}\n{gateway.log()}")
