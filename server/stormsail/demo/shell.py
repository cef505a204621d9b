"""How one types things in a second shell in the folder that is current now: paths and our own command.

In: a demo's files, the program that runs. Out: the shortest words that work there.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from .layout import DEFAULT_FOLDER, Layout
from .situation import Commands


def commands_for(layout: Layout) -> Commands:
    """How to call the program that runs now about this demo."""
    default = Path(DEFAULT_FOLDER).resolve() == layout.folder
    return Commands(_program(), from_here(layout.config), "" if default else f" --dir {from_here(layout.folder)}")


def from_here(path: Path) -> str:
    """The path as one would type it here."""
    return shlex.quote(min(os.path.relpath(path), str(path), key=len))


def _program() -> str:
    program = Path(sys.executable).with_name("stormsail")
    # The second shell has not activated a virtual environment, and then it finds another program or none.
    if not program.exists() or ("VIRTUAL_ENV" not in os.environ and shutil.which("stormsail") == str(program)):
        return "stormsail"
    shown = from_here(program)
    return shown if "/" in shown else f"./{shown}"
