"""Free loopback ports for servers that must be told theirs before they start.

They come from below the range that the kernel gives to clients, so that no outgoing connection can take one in the
meantime, and none is given twice by one test run.
"""

from __future__ import annotations

import random
import socket

FIRST, LAST = 10_240, 32_000
_given: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which nobody listens."""
    while True:
        port = random.randint(FIRST, LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        _given.add(port)
        return port
