"""Where everything of a demo is: its folder, its ports, its files, and how a second shell finds it.

In: a folder. Out: paths, free loopback ports (the same ones again after a restart, where they are still free), the
written configuration. Fails with BadRequest where no demo is found.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from pathlib import Path

import msgspec

from stormsail.domain.errors import BadRequest

from .certificates import Authority
from .people import DOMAIN, SEGMENTS, directory_csv
from .primary.settings import SandboxSettings

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

    def write(self) -> Ports:
        """Writes every file that the processes read, and says which ports they use."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.mail.mkdir(exist_ok=True)
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

    def forget(self) -> None:
        """The demo is over: a second shell no longer finds it. The folder stays, with its ports."""
        pointed = _read_state(_pointer())
        if pointed is not None and pointed.pid == os.getpid():
            _pointer().unlink(missing_ok=True)


def find_demo(folder: Path | None = None) -> Layout:
    """The running demo: in `folder`, else below the current folder, else the one started last. Raises BadRequest."""
    places = [folder / STATE] if folder is not None else [Path(DEFAULT_FOLDER) / STATE, Path(STATE), _pointer()]
    for place in places:
        state = _read_state(place)
        if state is not None and _lives(state.pid):
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
    except (OSError, msgspec.MsgspecError, json.JSONDecodeError):
        return None


def _write_private(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(data + b"\n")
    os.replace(name, path)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
