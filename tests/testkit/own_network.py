"""A network of one's own in which replies are lost on demand.

Inside `own_network` everything that is started, threads and processes, has a loopback of its own that no other process
sees; in it iptables drops the packets that carry certain words. The network goes with the last who uses it. Needs root
and a kernel with network namespaces and the string match; a machine without skips the test with the reason.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from .realparts import program

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """The calling thread, and what it starts, is in a fresh network until the end of the block."""
    if os.geteuid() != 0:
        pytest.skip("a network of its own can only be made by root")
    home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            pytest.skip(f"no network namespace can be made here: {os.strerror(ctypes.get_errno())}")
        try:
            subprocess.run([program("ip"), "link", "set", "lo", "up"], check=True, capture_output=True)
            yield
        finally:
            assert _libc.setns(home, CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    finally:
        os.close(home)


@contextmanager
def losing(words: str, port: int) -> Iterator[None]:
    """Packets from the loopback port that carry these words never arrive, however often they are sent again."""
    rule = ["-p", "tcp", "--sport", str(port), "-m", "string", "--algo", "bm", "--string", words, "-j", "DROP"]
    added = subprocess.run([program("iptables"), "-A", "INPUT", *rule], capture_output=True)
    if added.returncode != 0:
        pytest.skip(f"iptables cannot drop by words here: {added.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run([program("iptables"), "-D", "INPUT", *rule], check=True, capture_output=True)
