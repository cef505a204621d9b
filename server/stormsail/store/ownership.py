"""One gateway owns its data (DESIGN §6): a lock, and an epoch that every commit checks.

The lock keeps a second gateway away while the first lives. A gateway that is stopped (not dead) keeps its lock but
no longer beats; then the newcomer ends it, where both are on one machine, and takes over with a higher epoch. An old
one that could not be ended and is continued finds that epoch at its next commit and ends itself.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from stormsail.domain.errors import StoreError

BEAT_S = 1.0
SILENCE_S = 6.0
"""How long a heart must be silent before its gateway counts as stopped."""
POLL_S = 0.2
log = structlog.get_logger()
EPOCH = struct.Struct("<Q")


class Ownership:
    """The lock of a data directory. `acquire` blocks for up to `SILENCE_S`: call it before the loop runs."""

    def __init__(self, data_dir: Path) -> None:
        self._lock_path = data_dir / "owner.lock"
        self._beat_path = data_dir / "owner.beat"
        self._fd = -1
        self._last_beat = time.monotonic()

    def acquire(self) -> None:
        """Takes the data directory. Raises StoreError where a living gateway has it."""
        if self._try_lock():
            self.beat()
            return
        before = self._read_beat()
        deadline = time.monotonic() + SILENCE_S
        while time.monotonic() < deadline:
            time.sleep(POLL_S)
            if self._try_lock():
                self.beat()
                return
            if self._read_beat() != before:
                raise StoreError(f"Another gateway is running on {self._lock_path.parent}")
        _end_predecessor(before, self._lock_path)
        self._lock_path.unlink(missing_ok=True)
        if not self._try_lock():
            raise StoreError(f"Another gateway has just taken {self._lock_path.parent}")
        self.beat()

    def beat(self) -> None:
        """Says that this gateway lives; call it every `BEAT_S`."""
        self._beat_path.write_text(f"{os.getpid()} {time.monotonic_ns()}")
        self._last_beat = time.monotonic()

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beats from a thread meanwhile: a start may read for long before the loop runs."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(BEAT_S):
                self.beat()

        thread = threading.Thread(target=beat, name="stormsail-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def stalled(self) -> bool:
        """Whether we ourselves were silent so long that another may have taken over: ask the ledger first."""
        return time.monotonic() - self._last_beat > SILENCE_S / 2

    def release(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _try_lock(self) -> bool:
        fd = os.open(self._lock_path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._fd = fd
        return True

    def _read_beat(self) -> str:
        try:
            return self._beat_path.read_text()
        except FileNotFoundError:
            return ""


def _end_predecessor(beat: str, lock: Path) -> None:
    """Ends the silent process that has the lock, if it is of this machine.

    It would end by itself when continued; until then it keeps its ports, and perhaps a lock inside a database.
    """
    word = beat.partition(" ")[0]
    if not word.isdigit() or not _has_open(int(word), lock):
        return
    log.warning("predecessor_ended", process=int(word))
    with suppress(ProcessLookupError):
        os.kill(int(word), signal.SIGKILL)
    deadline = time.monotonic() + SILENCE_S
    while _has_open(int(word), lock) and time.monotonic() < deadline:
        time.sleep(POLL_S)


def _has_open(process: int, file: Path) -> bool:
    """Whether that process has the file open; a number alone may be another's by now."""
    try:
        return str(file.resolve()) in [os.readlink(entry) for entry in Path(f"/proc/{process}/fd").iterdir()]
    except OSError:
        return False


class EpochMark:
    """The epoch of the present owner in a file that its gateways have mapped: looking costs no system call.

    A newcomer writes here after its epoch is committed and before it reads what its predecessor left; whoever has
    made something durable and still finds its own epoch here did so before the newcomer's look.
    """

    def __init__(self, data_dir: Path) -> None:
        fd = os.open(data_dir / "owner.epoch", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            os.ftruncate(fd, EPOCH.size)
            self._map = mmap.mmap(fd, EPOCH.size)
        finally:
            os.close(fd)

    def write(self, epoch: int) -> None:
        EPOCH.pack_into(self._map, 0, epoch)

    def read(self) -> int:
        epoch: int = EPOCH.unpack_from(self._map)[0]
        return epoch
