"""Which demos run on this machine: a file for each in the temporary directory, which goes when its demo ends.

In: the state of a demo that holds its folder's lock. Out: the states of those that run. A file whose demo is gone is
ignored and removed; one that is not ours is not looked at.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from pathlib import Path

import msgspec

from .people import SEGMENTS

LOCK = "demo.lock"


class Ports(msgspec.Struct, frozen=True):
    """Loopback ports; the defaults are those that are tried first."""

    mx: int = 2525
    connector: int = 2526
    http: int = 8025
    primary_smtp: int = 2625
    primary_submission: int = 2587
    primary_imap: int = 2143
    outside: int = 2725


class DemoState(msgspec.Struct, frozen=True):
    """What a running demo says of itself in `demo.json` and here."""

    folder: str
    config: str
    pid: int
    ports: Ports
    segments: tuple[str, ...] = SEGMENTS


def announce(state: DemoState) -> None:
    """This process runs that demo."""
    withdraw(state.folder)
    write_state(_place(state.ports.http), state)


def withdraw(folder: str) -> None:
    """The demo in that folder is over, also one that was killed and could not say so itself."""
    for path in _places():
        state = read_state(path)
        if state is not None and state.folder == folder:
            path.unlink(missing_ok=True)


def running_demos() -> list[DemoState]:
    """All demos of this user, by their folders."""
    found = []
    for path in _places():
        state = read_state(path)
        if state is None:
            continue
        # The pid alone may be somebody else's by now; the lock alone may be that of a later demo in the same folder.
        if _lives(state.pid) and is_taken(Path(state.folder)):
            found.append(state)
        else:
            path.unlink(missing_ok=True)
    return sorted(found, key=lambda state: state.folder)


def read_state(path: Path) -> DemoState | None:
    """What stands there; nothing where it is not ours or unreadable."""
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
            return None
        return msgspec.json.decode(path.read_bytes(), type=DemoState)
    except (OSError, msgspec.MsgspecError):
        return None


def write_state(path: Path, state: DemoState) -> None:
    """Replaces the file as a whole, readable for its owner only."""
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(state)) + b"\n")
    os.replace(name, path)


def lock(folder: Path) -> int | None:
    """The lock that a running demo holds, or None where another process has it."""
    handle = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def is_taken(folder: Path) -> bool:
    """Whether a demo runs there."""
    if not (folder / LOCK).exists():
        return False
    handle = lock(folder)
    if handle is not None:
        os.close(handle)
    return handle is None


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _places() -> list[Path]:
    return sorted(Path(tempfile.gettempdir()).glob(_place("*").name))


def _place(port: int | str) -> Path:
    return Path(tempfile.gettempdir()) / f"stormsail-demo-{os.getuid()}-{port}.json"
