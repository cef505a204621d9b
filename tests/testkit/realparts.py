"""Which real servers are on this machine. A test that lacks one is skipped with the reason; in CI that is a failure.

Real servers get folders directly under /tmp: the paths of their Unix sockets must be short, and they run as users
that cannot look into pytest's folders.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

PACKAGES = {
    "postfix": "postfix",
    "dovecot": "dovecot-imapd dovecot-lmtpd",
    "swaks": "swaks",
    "smtp-sink": "postfix",
    "ip": "iproute2",
    "mkfs.ext4": "e2fsprogs",
    "chattr": "e2fsprogs",
}
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def program(name: str) -> str:
    """The path of a real part; ends the test where it is missing."""
    found = shutil.which(name, path=SEARCH)
    if found is None:
        _lack(f"{name} is not installed (Debian: {PACKAGES.get(name, name)})")
    return found


def need_root(name: str) -> None:
    """Ends the test where `name` cannot be started because we are not root."""
    if os.geteuid() != 0:
        _lack(f"{name} can only be started by root")


def _lack(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(f"in CI every real part must be there: {reason}")
    pytest.skip(reason)


@contextmanager
def short_folder(name: str) -> Iterator[Path]:
    """A fresh folder with a short path that every user may enter; removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix=f"ss-{name}-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
