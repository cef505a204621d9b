"""Where everything of a demo is: its folder, its ports, its files, and how a second shell finds it.

In: a folder. Out: paths, free loopback ports (the same ones again after a restart, where they are still free), the
written configuration. Fails with BadRequest where no demo is found or where one is running.
"""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
from pathlib import Path

import msgspec

from stormsail.domain.errors import BadRequest

from .certificates import Authority
from .faults import Faults, write_faults
from .people import DOMAIN, SEGMENTS, directory_csv
from .primary.settings import SandboxSettings

DEFAULT_FOLDER = "demo-data"
STATE = "demo.json"
LOCK = "demo.lock"
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


class Ports(msgspec.Struct, frozen=True):
    """Loopback ports; the defaults are those that are tried first."""

    mx: int = 2525
    connector: int = 2526
    http: int = 8025
    primary_smtp: int = 2625
    primary_submission: int = 2587
    primary_imap: int = 2143
    outside: int = 2725


class DemoState(msgspec.Struct, frozen=True):
    """What a running demo says of itself in `demo.json`."""

    folder: str
    config: str
    pid: int
    ports: Ports
    segments: tuple[str, ...] = SEGMENTS


class Layout:
    """The files of one demo."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.config = self.folder / "stormsail.toml"
        self.mail = self.folder / "primary"
        self.primary_settings = self.folder / "primary.json"
        self.data_dir = self.folder / "gateway"
        self.state = self.folder / STATE
        self._lock: int | None = None

    def take(self) -> Ports:
        """Writes all files that the processes read; says which ports they use. Raises BadRequest where it is taken."""
        self.mail.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self.folder / LOCK)
        if self._lock is None:
            raise BadRequest(f"A demo is running in {self.folder} already")
        write_faults(self.mail, Faults())
        ports = _choose_ports(_read_state(self.state))
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
        for path in (self.state, _pointer()):
            _write_private(path, msgspec.json.format(msgspec.json.encode(state)))
        return ports

    def leave(self) -> None:
        """The demo is over: a second shell no longer finds it. The folder stays, with its ports."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def find_demo(folder: Path | None = None) -> Layout:
    """The running demo: in `folder`, else below the current folder, else the one started last. Raises BadRequest."""
    places = [folder / STATE] if folder is not None else [Path(DEFAULT_FOLDER) / STATE, Path(STATE), _pointer()]
    for place in places:
        state = _read_state(place)
        if state is not None and _is_taken(Path(state.folder) / LOCK):
            return Layout(Path(state.folder))
    where = folder or f"{DEFAULT_FOLDER} or elsewhere"
    raise BadRequest(f"No demo is running in {where}; start one with: stormsail demo")


def _choose_ports(before: DemoState | None) -> Ports:
    """Those of last time or the defaults, each replaced by another one where it is taken."""
    wanted = msgspec.structs.asdict(before.ports if before is not None else Ports())
    return Ports(**{name: port if _is_free(port) else _free_port() for name, port in wanted.items()})


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _pointer() -> Path:
    """Where the demo started last is named, for shells in other folders."""
    return Path(tempfile.gettempdir()) / f"stormsail-demo-{os.getuid()}.json"


def _read_state(path: Path) -> DemoState | None:
    """What stands there; nothing where it is not ours or unreadable."""
    try:
        about = path.lstat()
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.getuid():
            return None
        return msgspec.json.decode(path.read_bytes(), type=DemoState)
    except (OSError, msgspec.MsgspecError):
        return None


def _write_private(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data + b"\n")
    os.replace(name, path)


def _lock(path: Path) -> int | None:
    """The lock that a running demo holds, or None where another process has it."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _is_taken(path: Path) -> bool:
    if not path.exists():
        return False
    handle = _lock(path)
    if handle is not None:
        os.close(handle)
    return handle is None
