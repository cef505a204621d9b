"""`stormsail serve`: one process, one loop, from the lock on the data directory to a clean stop.

In: the path of a configuration file. Out: exit code 0 after SIGTERM or SIGINT, 1 where it could not start, 70 where
another gateway has taken over the data, 75 where what is accepted can no longer be recorded here: to be started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import logging
import os
import signal
import sqlite3
import sys
from pathlib import Path

import structlog
import uvloop

from stormsail.config import Settings, check_settings
from stormsail.domain.errors import StormsailError, TakenOver
from stormsail.store import Ownership

from .gateway import Gateway

EXIT_TAKEN_OVER = 70
EXIT_FAULT = 75
"""EX_TEMPFAIL of sysexits: whoever supervises the gateway starts it again, and the start takes up what is safe."""
SWITCH_S = 0.0005
"""How long a background thread may keep the interpreter from the event loop; CPython's default is ten times that."""
COLLECT_AFTER = (20_000, 20, 50)
"""Objects made before rubbish in cycles is looked for: messages make none, and looking took a tenth of the time."""
log = structlog.get_logger()


def serve(path: Path) -> int:
    """Runs the gateway until it is told to stop."""
    _set_up_logs()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*COLLECT_AFTER)
    checked = check_settings(path)
    for line in (*checked.mistakes, *checked.warnings):
        sys.stderr.write(line + "\n")
    if checked.settings is None:
        return 1
    try:
        return uvloop.run(_run(path, checked.settings, _take_data_dir(path, checked.settings)))
    except (StormsailError, OSError, sqlite3.Error) as error:
        sys.stderr.write(f"stormsail cannot start: {error}\n")
        return 1


def _take_data_dir(path: Path, settings: Settings) -> Ownership:
    data_dir = path.parent / settings.server.data_dir
    os.umask(0o077)
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _let_operators_reach(data_dir, settings.server.operators_group)
    ownership = Ownership(data_dir)
    ownership.acquire()
    return ownership


def _let_operators_reach(data_dir: Path, group: str) -> None:
    """Members of the operators' group may pass through to the control socket, and see nothing else."""
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(data_dir, -1, grp.getgrnam(group).gr_gid)
        data_dir.chmod(0o710)


async def _run(path: Path, settings: Settings, ownership: Ownership) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gateway = Gateway(path, settings, ownership, _exit_at_once)
    try:
        with ownership.beating():
            addresses = await gateway.start()
        loop.add_signal_handler(signal.SIGHUP, gateway.reload_soon)
        sys.stdout.write(f"ready {addresses}\n")
        sys.stdout.flush()
        await stopping.wait()
    finally:
        with contextlib.suppress(BrokenPipeError):
            await gateway.stop()
        ownership.release()
    return 0


def _exit_at_once(error: StormsailError) -> None:
    """The data belongs to another gateway now, or cannot be written: nothing may be sent or taken any more."""
    sys.stderr.write(f"stormsail stops at once: {error.sentence}\n")
    sys.stderr.flush()
    os._exit(EXIT_TAKEN_OVER if isinstance(error, TakenOver) else EXIT_FAULT)


def _set_up_logs() -> None:
    """One JSON object a line on stderr; never bodies or secrets."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
