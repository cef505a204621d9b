"""The gateway's own secret, which signs its trace fields: 32 octets, made at the first start."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

LENGTH = 32


def own_secret(data_dir: Path) -> bytes:
    """The secret of this data directory."""
    path = data_dir / "secret"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        made = secrets.token_bytes(LENGTH)
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            os.write(fd, made)
            os.fsync(fd)
        finally:
            os.close(fd)
        return made
