"""Swaks, the hand tool of mail operators, as a client of a server under test."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .realparts import program

REPLY = re.compile(r"^<(?:-|~|\*)+\s+(\d{3})([ -].*)?$")


@dataclass(frozen=True)
class Conversation:
    """What swaks saw. `status` is its exit status: 0 when everything went well."""

    status: int
    transcript: str

    @property
    def replies(self) -> list[str]:
        """Every line that the server said, `CODE text`."""
        return [match.group(1) + (match.group(2) or "") for match in map(REPLY.match, self._lines()) if match]

    @property
    def last_code(self) -> int:
        """The code of the last reply before QUIT's."""
        codes = [int(reply[:3]) for reply in self.replies]
        return codes[-2] if codes[-1:] == [221] else codes[-1]

    def _lines(self) -> list[str]:
        return [line.strip() for line in self.transcript.splitlines()]


def swaks(
    port: int, recipients: str, *, reverse_path: str, data: bytes | None = None, options: tuple[str, ...] = ()
) -> Conversation:
    """One session; `options` go to swaks as they are, such as `--tls` or `--pipeline`."""
    command: list[str | Path] = [program("swaks"), "--server", "127.0.0.1", "--port", str(port), "--to", recipients]
    command += ["--from", reverse_path, "--helo", "client.test", "--timeout", "20", *options]
    if data is not None:
        command += ["--data", "-"]
    done = subprocess.run(command, input=data or b"", capture_output=True, timeout=120)
    return Conversation(done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace"))
