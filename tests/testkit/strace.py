"""Faults on demand: strace kills, stops or fails a process at a chosen system call.

Either the process is started under it (`prefix`), or strace is put onto one that runs (`attached`). Calls are counted
by each thread for itself, from there on; with `path` only those on that file. A machine where nothing may be traced
skips the test with the reason.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from .realparts import program
from .waiting import wait_until


@dataclass(frozen=True)
class Fault:
    """What happens at which call: `what` as strace(1) puts it behind `inject=CALLS:`."""

    calls: str
    what: str
    path: Path | None = None
    log: Path = Path(os.devnull)

    def options(self) -> list[str]:
        files = ["-P", str(self.path)] if self.path is not None else []
        traced = ["-e", f"trace={self.calls}", "-e", f"inject={self.calls}:{self.what}"]
        return ["-f", "-o", str(self.log), *files, *traced]


def kill_at(calls: str, when: int, path: Path | None = None) -> Fault:
    """SIGKILL as the `when`-th call begins."""
    return Fault(calls, f"signal=KILL:when={when}", path)


def stop_at(calls: str, when: int, path: Path | None = None) -> Fault:
    """SIGSTOP as the `when`-th call begins."""
    return Fault(calls, f"signal=STOP:when={when}", path)


def fail_at(calls: str, error: str, when: str, log: Path, path: Path | None = None) -> Fault:
    """The call fails with `error` instead; `when` is `first+step`. `injected(log)` tells how often."""
    return Fault(calls, f"error={error}:when={when}", path, log)


def injected(log: Path) -> int:
    """How many calls were made to fail."""
    return log.read_text("utf-8", "replace").count("(INJECTED)") if log.exists() else 0


def prefix(fault: Fault) -> list[str]:
    """What goes before a command so that it meets the fault."""
    return [program("strace"), "-qq", *fault.options()]


@contextmanager
def attached(pid: int, fault: Fault) -> Iterator[None]:
    """The process meets the fault from here on, to the end of the block; yields when all its threads are watched."""
    tracing = subprocess.Popen([program("strace"), *fault.options(), "-p", str(pid)], stderr=subprocess.PIPE)
    said: list[bytes] = []
    stream = tracing.stderr
    assert stream is not None
    listening = threading.Thread(target=lambda: said.extend(iter(stream.readline, b"")), daemon=True)
    listening.start()
    try:
        wait_until(lambda: any(b"attached" in line for line in said), "strace to attach", detail=lambda: str(said))
        yield
    finally:
        _end(tracing)
        listening.join(10)
        stream.close()


def _end(tracing: subprocess.Popen[bytes]) -> None:
    """Detaches; from a process that is stopped strace cannot, so it is killed, which detaches too."""
    tracing.terminate()
    try:
        tracing.wait(2)
    except subprocess.TimeoutExpired:
        tracing.kill()
        tracing.wait(10)


def need_strace() -> None:
    """Ends the test where strace is missing or may not trace."""
    command = [program("strace"), "-f", "-e", "trace=fsync", "-o", os.devnull, "true"]
    tried = subprocess.run(command, capture_output=True, timeout=20)
    if tried.returncode != 0:
        reason = f"strace cannot trace here: {tried.stderr.decode()[:200]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
