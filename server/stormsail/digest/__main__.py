"""The digest child's entry point: `python -m stormsail.digest --memory OCTETS --seconds S`.

In: request frames on stdin. Out: a Hello, then one answer frame for each on stdout. Ends at the end of stdin, at a
frame that is no request, and by its own alarm where the parent is gone or asleep. It may not write files, start
programs or grow beyond its memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from typing import BinaryIO

from .digesting import Digester
from .protocol import LENGTH, Answer, Hello, decode_request, encode_answer, frame

RECURSION_LIMIT = 400
"""Enough for the deepest honest message; far below where Python's own stack is at risk."""
ALARM_FACTOR = 2.0
FRAME_LIMIT = 1 << 32


def main() -> int:
    """Serves until stdin ends."""
    parser = argparse.ArgumentParser(prog="stormsail.digest")
    parser.add_argument("--memory", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--nice", type=int, default=0)
    options = parser.parse_args()
    digester = Digester()
    set_limits(options.memory, options.nice)
    serve(sys.stdin.buffer, sys.stdout.buffer, digester, options.seconds * ALARM_FACTOR)
    return 0


def set_limits(memory: int, nice: int) -> None:
    """What the process may use. Irrevocable."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536))
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    os.nice(nice)
    sys.setrecursionlimit(RECURSION_LIMIT)


def serve(source: BinaryIO, target: BinaryIO, digester: Digester, alarm_s: float) -> None:
    """One answer a request. The alarm's default action ends the process: nothing hangs without a parent."""
    _write(target, Hello())
    while (data := _read(source)) is not None:
        signal.setitimer(signal.ITIMER_REAL, alarm_s)
        answer = digester.answer(decode_request(data))
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(target, answer)


def _read(source: BinaryIO) -> bytearray | None:
    """A frame's data; None at the end."""
    prefix = source.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(prefix)
    if length > FRAME_LIMIT:
        return None
    data = bytearray(length)
    view = memoryview(data)
    while view:
        count = source.readinto(view)  # type: ignore[attr-defined]
        if not count:
            return None
        view = view[count:]
    return data


def _write(target: BinaryIO, answer: Answer) -> None:
    data = encode_answer(answer)
    target.write(frame(data))
    target.write(data)
    target.flush()


if __name__ == "__main__":
    sys.exit(main())
