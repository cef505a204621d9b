"""`stormsail demo break KIND` and `stormsail demo heal`, from a second shell.

In: what to break. Out: a line that says what is broken now. Fails with BadRequest where there is no such kind or no
demo, TemporaryError where the sandbox primary does not take it in.
"""

from __future__ import annotations

import time
from pathlib import Path

from stormsail.domain.errors import TemporaryError

from .faults import TAKEN, Faults, read_faults, unseen, write_faults
from .layout import Layout, find_demo, is_here

PATIENCE_S = 5.0
STEP_S = 0.05


def break_primary(kind: str, directory: Path | None = None) -> None:
    """Breaks one more thing about the sandbox primary of the running demo."""
    Faults().with_broken(kind)
    demo = find_demo(directory)
    _change(demo, read_faults(demo.mail).with_broken(kind))


def heal_primary(directory: Path | None = None) -> None:
    """Mends everything."""
    _change(find_demo(directory), Faults())


def _change(demo: Layout, faults: Faults) -> None:
    before = read_faults(demo.mail)
    write_faults(demo.mail, faults)
    deadline = time.monotonic() + PATIENCE_S
    while read_faults(demo.mail, TAKEN) != faults:
        if time.monotonic() > deadline:
            raise TemporaryError("The sandbox primary does not react; look into the window of the demo")
        time.sleep(STEP_S)
    whose = "The sandbox primary" if is_here(demo) else f"The sandbox primary of the demo in {demo.folder}"
    print(f"{whose}: {faults.describe()}.")
    for words in unseen(before, faults):
        print(words)
