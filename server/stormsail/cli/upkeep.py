"""`stormsail serve`, `check-config`, `reload`, `ledger check`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App

from stormsail.config import check_settings
from stormsail.wire import LedgerCheck, ReloadAnswer

from .link import open_link
from .options import DEFAULTS, Flag, Options
from .present import print_json, print_out, safe, warn


def add_upkeep_commands(app: App) -> None:
    """Adds these commands."""
    app.command(serve)
    app.command(check_config, name="check-config")
    app.command(reload)
    ledger = App(name="ledger", help="The record of what happened to every message.")
    ledger.command(check)
    app.command(ledger)


def serve(options: Options = DEFAULTS) -> int:
    """Runs the gateway; SIGTERM stops it, SIGHUP or `stormsail reload` takes new configuration."""
    from stormsail.app import serve as run_gateway  # heavy: only this command needs it

    return run_gateway(options.config_path())


def check_config(options: Options = DEFAULTS) -> int:
    """Reads the configuration and names every mistake with file and key."""
    checked = check_settings(options.config_path())
    if options.json:
        print_json(
            {
                "file": str(checked.path),
                "ok": checked.settings is not None,
                "mistakes": list(checked.mistakes),
                "warnings": list(checked.warnings),
            }
        )
        return 0 if checked.settings is not None else 1
    for line in (*checked.mistakes, *checked.warnings):
        warn(line)
    if checked.settings is None:
        return 1
    print_out(f"{safe(checked.path)} is in order")
    return 0


def reload(*, force: Annotated[bool, Flag] = False, options: Options = DEFAULTS) -> int:
    """Makes the running gateway take configuration, directory and certificates anew.

    --force where the directory's file has lost many addresses and that is right.
    """
    with open_link(options.data_dir()) as link:
        answer = link.post("/reload?force=true" if force else "/reload")
    if options.json:
        print_json(answer)
    else:
        print_out("Reloaded: " + "; ".join(map(safe, answer.read(ReloadAnswer).notes)))
    return 0


def check(options: Options = DEFAULTS) -> int:
    """Proves the ledger invariant, body files and copies against the ledger, and the audit chain."""
    with open_link(options.data_dir()) as link:
        answer = link.get("/ledger/check")
    found = answer.read(LedgerCheck)
    if options.json:
        print_json(answer)
    elif found.ok:
        print_out("Ledger, bodies, copies and audit trail agree")
    else:
        print_out(*map(safe, found.differences))
    if not found.ok:
        warn(f"The ledger check found {len(found.differences)} differences")
    return 0 if found.ok else 1
