"""What a running process costs, as the kernel counts it: memory, descriptors, threads (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Memory in MiB: resident now, and the most there ever was."""

    memory: float
    most_memory: float
    descriptors: int
    sockets: int
    """Of the descriptors: connections, and what listens."""
    threads: int


def cost_of(pid: int) -> Cost:
    """The costs of one process, its children not counted."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    targets = [_target(link) for link in Path(f"/proc/{pid}/fd").iterdir()]
    sockets = sum(target.startswith("socket:") for target in targets)
    return Cost(_mib(found["VmRSS"]), _mib(found["VmHWM"]), len(targets), sockets, int(found["Threads"]))


def forget_most_memory(pid: int) -> None:
    """From now on `most_memory` counts anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _target(link: Path) -> str:
    """What a descriptor stands for; empty where it has just been closed."""
    try:
        return os.readlink(link)
    except FileNotFoundError:
        return ""


def _mib(value: str) -> float:
    return int(value.split()[0]) / 1024
