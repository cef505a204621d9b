"""Child processes of the demo: started with a log file, known to be ready by one line, ended with the demo.

In: a command. Out: a running process. Fails with TemporaryError, the end of its log in the sentence, where it ends
before it is ready.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from pathlib import Path

from stormsail.domain.errors import TemporaryError

READY_S = 60.0
STOP_S = 20.0
LOG_LINES = 15
PR_SET_PDEATHSIG = 1


class Child:
    """One process. `ended` is done when it has ended, however that came about."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process
        self.ended = asyncio.ensure_future(process.wait())
        self._draining: asyncio.Future[None] | None = None

    async def wait_ready(self) -> str:
        """Its line `ready …`."""
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        except TimeoutError:
            line = b""
        if not line.startswith(b"ready"):
            raise TemporaryError(f"The {self.name} did not start; the end of {self.log}:\n{self.tail()}")
        self._draining = asyncio.ensure_future(self._drain(self._process.stdout))
        return line.decode("utf-8", "replace").strip()

    async def stop(self) -> None:
        """Asks it to end, and insists."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(self.ended), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self.ended
        if self._draining is not None:
            self._draining.cancel()

    def tail(self) -> str:
        """The end of what it said."""
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:])
        except FileNotFoundError:
            return "(it said nothing)"

    @staticmethod
    async def _drain(stream: asyncio.StreamReader) -> None:
        while await stream.readline():
            pass


async def start_child(name: str, arguments: list[str], log: Path) -> Child:
    """Starts `python ARGUMENTS` in a session of its own: Ctrl-C reaches only the demo, which ends it in order."""
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=file,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    return Child(name, process, log)


def _die_with_parent() -> None:
    """Runs in the child: a demo that is killed leaves nobody behind (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
