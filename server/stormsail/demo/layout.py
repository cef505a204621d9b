"""Where everything of a demo is: its folder, its ports, its files, and how a second shell finds it.

In: a folder. Out: paths, free loopback ports (the same ones again after a restart, where they are still free), the
written configuration. Fails with BadRequest where no demo is found, where several are, or where one is running.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

from stormsail.domain.errors import BadRequest

from .certificates import Authority
from .faults import Faults, write_faults
from .people import DOMAIN, directory_csv
from .primary.settings import SandboxSettings
from .running import DemoState, Ports, announce, is_taken, lock, read_state, running_demos, withdraw, write_state

DEFAULT_FOLDER = "demo-data"
STATE = "demo.json"
CONFIG = """\
# Written by `stormsail demo`; a configuration like any other, with loopback addresses.
[server]
hostname = "mx.{domain}"
data_dir = "gateway"

[listen]
mx = ["127.0.0.1:{ports.mx}"]
connector = ["127.0.0.1:{ports.connector}"]
http = ["127.0.0.1:{ports.http}"]

[http]
public_url = "http://127.0.0.1:{ports.http}"

[tls]
certificate = "tls/{certificate}"
key = "tls/{key}"

[[primary]]
name = "sandbox"
next_hops = ["127.0.0.1:{ports.primary_smtp}"]
tls = "require"
tls_ca = "tls/authority.pem"
connector_networks = ["127.0.0.1/32"]
connector_trust = "shared"
connector_mark = {{ header = "X-OriginatorOrg", values = ["{domain}"] }}

[[domain]]
name = "{domain}"
primary = "sandbox"
unknown_recipients = "verify"

[directory]
mailboxes = "mailboxes.csv"

[delivery]
route = "smarthost"
smarthost = "127.0.0.1:{ports.outside}"
smarthost_tls = "none"
retry_first_s = 2
retry_max_s = 15
"""


class Layout:
    """The files of one demo. `goes_on`: an earlier demo has left its mail and events there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.config = self.folder / "stormsail.toml"
        self.mail = self.folder / "primary"
        self.primary_settings = self.folder / "primary.json"
        self.data_dir = self.folder / "gateway"
        self.state = self.folder / STATE
        self.goes_on = self.data_dir.exists()
        self._lock: int | None = None

    def take(self) -> Ports:
        """Writes all files that the processes read; says which ports they use. Raises BadRequest where it is taken."""
        self.mail.mkdir(parents=True, exist_ok=True)
        self._lock = lock(self.folder)
        if self._lock is None:
            raise BadRequest(f"A demo is running in {self.folder} already")
        write_faults(self.mail, Faults())
        ports = self._choose_ports()
        authority = Authority(self.folder / "tls")
        gateway, primary = (
            authority.issue([f"mx.{DOMAIN}", "127.0.0.1"]),
            authority.issue(["127.0.0.1", f"mail.{DOMAIN}"]),
        )
        (self.folder / "mailboxes.csv").write_text(directory_csv(), "utf-8")
        names = {"certificate": gateway.certificate.name, "key": gateway.key.name}
        self.config.write_text(CONFIG.format(domain=DOMAIN, ports=ports, **names), "utf-8")
        settings = SandboxSettings(
            directory_csv=str(self.folder / "mailboxes.csv"),
            mail_dir=str(self.mail),
            certificate=str(primary.certificate),
            key=str(primary.key),
            smtp_port=ports.primary_smtp,
            submission_port=ports.primary_submission,
            imap_port=ports.primary_imap,
            connector_port=ports.connector,
        )
        self.primary_settings.write_bytes(msgspec.json.encode(settings))
        state = DemoState(str(self.folder), str(self.config), os.getpid(), ports)
        write_state(self.state, state)
        announce(state)
        return ports

    def _choose_ports(self) -> Ports:
        """Those of last time or the defaults, each replaced by another one where it is taken."""
        before = read_state(self.state)
        others = _ports_of_others(str(self.folder))
        wanted = msgspec.structs.asdict(before.ports if before is not None else Ports())
        kept = {name: port for name, port in wanted.items() if port not in others and _is_free(port)}
        return Ports(**{name: kept.get(name) or _free_port(others) for name in wanted})

    def leave(self) -> None:
        """The demo is over: a second shell no longer finds it. The folder stays, with its ports."""
        if self._lock is not None:
            withdraw(str(self.folder))
            os.close(self._lock)
            self._lock = None


def find_demo(folder: Path | None = None) -> Layout:
    """The running demo: in `folder`; else in this folder; else the only one there is. Raises BadRequest."""
    for place in _places_here() if folder is None else [folder]:
        if is_taken(place):
            return Layout(place)
    running = running_demos() if folder is None else []
    if len(running) == 1:
        return Layout(Path(running[0].folder))
    if running:
        folders = ", ".join(state.folder for state in running)
        raise BadRequest(f"{len(running)} demos are running, none of them in this folder; say --dir, one of {folders}")
    where = folder or f"{DEFAULT_FOLDER} or elsewhere"
    raise BadRequest(f"No demo is running in {where}; start one with: stormsail demo")


def is_here(demo: Layout) -> bool:
    """Whether somebody in the current folder means that demo without saying so."""
    return demo.folder in [place.resolve() for place in _places_here()]


def _places_here() -> list[Path]:
    return [Path(DEFAULT_FOLDER), Path()]


def _ports_of_others(folder: str) -> set[int]:
    """A primary that plays dead does not listen on its ports, but it wants them back when it is mended."""
    others = [demo.ports for demo in running_demos() if demo.folder != folder]
    return {port for ports in others for port in msgspec.structs.astuple(ports)}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port(others: set[int]) -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port not in others:
            return port
