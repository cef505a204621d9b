"""How often each side makes the disk sync for a message: what a fair comparison of durable accepts rests on.

Both run from their start under strace, which writes down fsync, fdatasync and their like of every process. That slows
both down, so nothing else is measured here, and a batch of ours may come out larger than without it. Ours are counted
until the copies are readable, theirs until the queue is still: all that a message causes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.against_postfix import (
    ACCEPTS,
    CONNECTIONS,
    RELAYS,
    accepted_by_us,
    hold_everything,
    relayed_by_postfix,
    relayed_by_us,
)
from bench.rounds import Line, paired
from testkit.gateway import Gateway, running_gateway
from testkit.ports import free_port
from testkit.postfix import DAEMONS, PATH, Postfix, holding, sender_to
from testkit.realparts import need_root, program, short_folder
from testkit.sink import running_sink
from testkit.strace import need_strace
from testkit.waiting import wait_until

CALLS = ("fsync", "fdatasync", "syncfs", "sync", "msync", "sync_file_range")
SHARE = 0.25
"""Of the messages of the paired lines; more do not change the figure."""


def syncs(_rounds: int, scale: float) -> Iterator[Line]:
    """A line for each paired one; there is no goal, for fewer syncs are no merit of their own."""
    need_strace()
    with _traced_gateway(1) as (gateway, ours), _traced_postfix(holding()) as (postfix, theirs):
        hold_everything(gateway)
        for load in (one.scaled(scale * SHARE) for one in ACCEPTS + CONNECTIONS):
            mine = _per_message(ours, load.messages, lambda load=load: accepted_by_us(gateway, load))  # type: ignore[misc]
            other = _per_message(
                theirs,
                load.theirs,
                lambda load=load: load.send(postfix.port, load.theirs),  # type: ignore[misc]
            )
            yield paired(f"syncs a message: accept {load.words}", "syncs/message", None, [(mine, other)])
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        gateway, ours = stack.enter_context(_traced_gateway(sink))
        postfix, theirs = stack.enter_context(_traced_postfix(sender_to(sink)))
        for load in (one.scaled(scale * SHARE) for one in RELAYS):
            mine = _per_message(ours, load.messages, lambda load=load: relayed_by_us(gateway, load))  # type: ignore[misc]
            half = max(1, load.messages // 2)
            other = _per_message(theirs, half, lambda load=load: relayed_by_postfix(postfix, load))  # type: ignore[misc]
            yield paired(f"syncs a message: relay {load.words}", "syncs/message", None, [(mine, other)])


def _per_message(log: Path, messages: int, work: Callable[[], float]) -> float:
    """Calls while `work` is at it, for each of its messages."""
    before = _count(log)
    work()
    return (_count(log) - before) / messages


def _count(log: Path) -> int:
    """Calls that were begun; one that was interrupted by another thread's has two lines."""
    with log.open("r", encoding="utf-8", errors="replace") as lines:
        return sum(1 for line in lines if "resumed>" not in line)


def _strace(log: Path) -> list[str]:
    """What goes before a command so that its syncs, and those of all it starts, are written to `log`."""
    return [
        program("strace"),
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        f"trace={','.join(CALLS)}",
        "-e",
        "signal=none",
        "-o",
        str(log),
    ]


@contextmanager
def _traced_gateway(primary: int) -> Iterator[tuple[Gateway, Path]]:
    with running_gateway(primary=primary, outside=primary, started=False) as gateway:
        log = gateway.folder / "syncs"
        gateway.start(prefix=_strace(log))
        yield gateway, log


class _TracedPostfix(Postfix):
    """Its master, and so every process of it, is started under strace, which lasts as long as they do."""

    tracing: subprocess.Popen[bytes] | None = None

    def _control(self, word: str, *, check: bool = True) -> int:
        if word != "start":
            return super()._control(word, check=check)
        command = [*_strace(self.folder / "syncs"), f"{DAEMONS}/master", "-c", str(self.config), "-d"]
        quiet = subprocess.DEVNULL
        super()._control("check")
        self.tracing = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env={"PATH": PATH})
        return 0


@contextmanager
def _traced_postfix(main: dict[str, str]) -> Iterator[tuple[Postfix, Path]]:
    program("postfix")
    need_root("Postfix")
    with short_folder("postfix") as folder:
        postfix = _TracedPostfix(folder, free_port())
        try:
            postfix.start(main)
            yield postfix, folder / "syncs"
        finally:
            postfix.stop()
            tracing = postfix.tracing
            if tracing is not None:
                wait_until(lambda: tracing.poll() is not None, "strace of Postfix to end")
