"""Postfix's own load programs: `smtp-sink`, the fastest next hop there is, and `smtp-source`, the sender beside it.

Both are in C and cost next to nothing, so that a measurement measures the server between them.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from .ports import free_port
from .realparts import program
from .waiting import wait_for_port

BACKLOG = "1024"


@contextmanager
def running_sink(*options: str, port: int | None = None) -> Iterator[int]:
    """A server that takes everything and keeps nothing; gives its port. `options` as in smtp-sink(1)."""
    at = port or free_port()
    process = subprocess.Popen(
        [program("smtp-sink"), *_run_as(), *options, f"127.0.0.1:{at}", BACKLOG],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(at, "smtp-sink", process)
        yield at
    finally:
        process.terminate()
        process.wait(10)


def pour(
    port: int, *, messages: int, sessions: int, size: int, recipient: str, reverse_path: str = "a@example.org"
) -> float:
    """Sends `messages` messages of `size` octets over `sessions` connections at a time; gives the seconds it took."""
    command = [program("smtp-source"), "-s", str(sessions), "-m", str(messages), "-l", str(size), "-d"]
    command += ["-f", reverse_path, "-t", recipient, f"127.0.0.1:{port}"]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    return time.perf_counter() - began


def _run_as() -> list[str]:
    return ["-u", "nobody"] if os.geteuid() == 0 else []
