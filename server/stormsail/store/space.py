"""How much room is left on the disk of the data directory."""

from __future__ import annotations

import os
from pathlib import Path

INODES_RESERVE = 1_000


def free_bytes(path: Path) -> int:
    """Bytes that may still be written below `path`; 0 where no file could be made for want of inodes."""
    state = os.statvfs(path)
    if state.f_files and state.f_favail < INODES_RESERVE:
        return 0
    return state.f_bavail * state.f_frsize
