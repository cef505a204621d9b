"""What every command takes: where the configuration is, and whether a program reads the output."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from stormsail.domain.errors import ConfigError

PLACES = (Path("stormsail.toml"), Path("/etc/stormsail/stormsail.toml"))
DATA_DIR = "/var/lib/stormsail"

Flag = Parameter(negative=())


@Parameter(name="*")
@dataclass(frozen=True)
class Options:
    """`--config` and `--json`."""

    config: Annotated[Path | None, Parameter(help="The configuration file.", show_default=False)] = None
    json: Annotated[bool, Flag, Parameter(help="Print one JSON value and nothing else.")] = False

    def config_path(self) -> Path:
        """The file that was named, or the first there is. Raises ConfigError."""
        if self.config is not None:
            return self.config
        for place in PLACES:
            if place.is_file():
                return place
        raise ConfigError(f"There is no configuration: neither {PLACES[0]} nor {PLACES[1]}; say --config FILE")

    def data_dir(self) -> Path:
        """Where the gateway keeps its data. Mistakes elsewhere in the file do not matter here. Raises ConfigError."""
        path = self.config_path()
        try:
            table = tomllib.loads(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path} cannot be read: {error}") from error
        server = table.get("server")
        named = server.get("data_dir", DATA_DIR) if isinstance(server, dict) else DATA_DIR
        return path.parent / str(named)


DEFAULTS = Options()
"""What a command has when nothing was said."""
