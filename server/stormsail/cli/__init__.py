"""The command `stormsail`."""

from __future__ import annotations

import sys

from .app import run

__all__ = ["main", "run"]


def main() -> None:
    """The console script."""
    sys.exit(run(sys.argv[1:]))
