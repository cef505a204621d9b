"""What processes take: memory, descriptors, threads, from /proc, and a watcher that samples while something runs.

In: a process id. Out: MiB and counts; of a process that has ended, nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")
KIB_PER_MIB = 1024


def status_of(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status; empty where there is no such process any more."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def rss_mib(pid: int) -> float:
    """Resident memory now."""
    return _mib(status_of(pid), "VmRSS")


def peak_rss_mib(pid: int) -> float:
    """The most resident memory it ever had."""
    return _mib(status_of(pid), "VmHWM")


def _mib(status: dict[str, str], field: str) -> float:
    return int(status.get(field, "0 kB").split()[0]) / KIB_PER_MIB


def children_of(pid: int) -> list[int]:
    """Processes that it started and that are still there."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def descriptors(pid: int) -> int:
    """Open descriptors."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def threads(pid: int) -> int:
    return int(status_of(pid).get("Threads", "0"))


class Samples(Generic[T]):
    """What a watcher saw, in order."""

    def __init__(self) -> None:
        self.values: list[T] = []


@contextmanager
def sampling(look: Callable[[], T], every_s: float) -> Iterator[Samples[T]]:
    """Calls `look` every so often from a thread, to the end of the block, and once at its end."""
    samples: Samples[T] = Samples()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            began = time.monotonic()
            samples.values.append(look())
            done.wait(max(0.0, began + every_s - time.monotonic()))

    watching = threading.Thread(target=watch, name="samples", daemon=True)
    watching.start()
    try:
        yield samples
    finally:
        done.set()
        watching.join()
        samples.values.append(look())
