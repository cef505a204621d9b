"""smtp-source as the sender: its own messages, or letters with words in them (smtp-source(1)).

In: a port, how many messages over how many sessions. Out: seconds. A message that is not taken is an AssertionError
with what smtp-source said.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from bench.letters import message
from testkit.realparts import program

PATIENCE_S = 900


def source_to(port: int, messages: int, sessions: int, size: int, recipient: str, *more: str) -> float:
    """Seconds until so many messages of `size` octets are taken; `more` are further options."""
    command = [program("smtp-source"), "-s", str(min(sessions, messages)), "-m", str(messages), "-l", str(size)]
    return run([*command, "-f", "a@example.org", "-t", recipient, *more, f"127.0.0.1:{port}"])


def letters_to(
    port: int,
    folder: Path,
    number: int,
    *,
    octets: int,
    messages: int,
    sessions: int,
    recipient: str,
    pace: bool = False,
) -> list[str]:
    """The command that sends letter `number` again and again, to `1recipient`, `2recipient` and so on.

    With `pace` each session waits a second between two. Who sends the same twice takes another number: a session that
    smtp-source gives up at its end leaves its last message unconfirmed, and the same again would be a repeat.
    """
    file = folder / f"letter-{number}-{octets}"
    file.write_bytes(message(number, f"1{recipient}", octets).replace(b"\r\n", b"\n"))
    words = [program("smtp-source"), "-d", "-N", "-s", str(min(sessions, messages)), "-m", str(messages)]
    words += ["-w", "1"] if pace else []
    return [*words, "-F", str(file), "-f", "a@elsewhere.example", "-t", recipient, f"127.0.0.1:{port}"]


def run(*commands: list[str]) -> float:
    """Runs them at the same time; seconds until the last one has ended."""
    began = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    said = [process.communicate(timeout=PATIENCE_S)[1].decode("utf-8", "replace") for process in running]
    took = time.perf_counter() - began
    if any(process.returncode for process in running):
        raise AssertionError(f"smtp-source: {' '.join(said)[:2000]}")
    return took
