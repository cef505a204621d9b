"""`stormsail demo`, `demo break KIND`, `demo heal`: the whole story on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from .options import Flag

Dir = Annotated[Path | None, Parameter(name="--dir", help="The demo's folder; ./demo-data where it is left out.")]


def add_demo_commands(app: App) -> None:
    """Adds these commands."""
    demo = App(name="demo", help="The whole story on this machine: gateway, sandbox primary, people who write.")
    demo.default(play)
    demo.command(break_one, name="break")
    demo.command(heal)
    app.command(demo)


def play(*, folder: Dir = None, headless: Annotated[bool, Flag] = False) -> int:
    """Runs the demo until Ctrl-C; --headless without colours and pace for a person."""
    from stormsail.demo import run_demo  # heavy: only this command needs it

    return run_demo(folder, headless)


def break_one(kind: str, *, folder: Dir = None) -> int:
    """Breaks the demo's primary. KIND: inbound, outbound, mailbox, identity, all, bounce, segment:NAME."""
    from stormsail.demo import break_primary

    break_primary(kind, folder)
    return 0


def heal(*, folder: Dir = None) -> int:
    """Mends everything about the demo's primary."""
    from stormsail.demo import heal_primary

    heal_primary(folder)
    return 0
