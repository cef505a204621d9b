"""The command line: commands put together, exit codes, one-line errors.

In: arguments. Out: exit code 0 done, 1 refused or failed, 2 wrong use. Never a traceback for what can be foreseen.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from stormsail import __version__
from stormsail.domain.errors import StormsailError

from .demo import add_demo_commands
from .events import add_event_commands
from .people import add_people_commands
from .present import warn
from .queue import add_queue_commands
from .status import add_status_commands
from .upkeep import add_upkeep_commands

WRONG_USE = 2
INTERRUPTED = 130


def make_app() -> App:
    """All commands."""
    app = App(
        name="stormsail",
        version=__version__,
        help="A mail continuity gateway. Commands that speak to a running gateway do so by its control socket.",
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
    )
    add_status_commands(app)
    add_event_commands(app)
    add_queue_commands(app)
    add_people_commands(app)
    add_upkeep_commands(app)
    add_demo_commands(app)
    return app


def run(arguments: Sequence[str]) -> int:
    """Runs one command and says how it ended."""
    try:
        code = make_app()(_options_last(list(arguments)))
    except CycloptsError as error:
        warn(f"stormsail: {' '.join(str(error).split())}")
        return WRONG_USE
    except StormsailError as error:
        for line in error.sentence.splitlines():
            warn(f"stormsail: {line}")
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`stormsail audit | head`): nothing more may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code if isinstance(code, int) else 0


def _options_last(arguments: list[str]) -> list[str]:
    """`stormsail --config FILE status` means the same as `stormsail status --config FILE`."""
    first: list[str] = []
    while arguments and arguments[0].partition("=")[0] in ("--config", "--json"):
        count = 2 if arguments[0] == "--config" else 1
        first += arguments[:count]
        del arguments[:count]
    return [*arguments, *first] if arguments else first
