"""Waiting for something to become true, with a deadline and words for the failure. No test sleeps for a fixed time."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
STEP_S = 0.02
PATIENCE_S = 15.0


class WaitedTooLong(AssertionError):
    """What was waited for did not come in time."""


def wait_until(
    condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S, detail: Callable[[], str] | None = None
) -> T:
    """The first true value of `condition`. Raises WaitedTooLong with `what` and, where given, `detail()`."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise WaitedTooLong(_words(what, patience_s, detail))
        time.sleep(STEP_S)


async def eventually(
    condition: Callable[[], T], what: str, patience_s: float = PATIENCE_S, detail: Callable[[], str] | None = None
) -> T:
    """The same on the event loop."""
    deadline = time.monotonic() + patience_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise WaitedTooLong(_words(what, patience_s, detail))
        await asyncio.sleep(STEP_S)


def wait_for_port(
    port: int,
    what: str,
    process: subprocess.Popen[bytes] | None = None,
    detail: Callable[[], str] | None = None,
    patience_s: float = PATIENCE_S,
) -> None:
    """Returns when something listens on the loopback port; fails at once where `process` has ended."""

    def listening() -> bool:
        if process is not None and process.poll() is not None:
            raise WaitedTooLong(_words(f"{what} (it ended with {process.returncode})", 0, detail))
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(listening, f"{what} on port {port}", patience_s, detail)


def _words(what: str, patience_s: float, detail: Callable[[], str] | None) -> str:
    said = f"\n{detail()}" if detail is not None else ""
    return f"waited {patience_s:.0f} s in vain for {what}{said}"
