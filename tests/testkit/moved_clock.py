"""A wall clock that is set forward and back while a process runs: libfaketime, told by a file that it reads each time.

In: days. Out: the environment for a process and its children. Time that only grows (CLOCK_MONOTONIC) stays true.
"""

from __future__ import annotations

import os
from pathlib import Path

from .realparts import program


class MovedClock:
    """One clock; `set_days` takes effect at once in every process that was started with `env`."""

    def __init__(self, folder: Path) -> None:
        program("faketime")
        [library, *_] = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self._file = folder / "clock"
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        self.set_days(0)

    def set_days(self, days: int) -> None:
        """The wall clock is so many days ahead of the true one (less than 0: behind)."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{days * 86_400:+d}\n", "ascii")
        os.replace(fresh, self._file)
