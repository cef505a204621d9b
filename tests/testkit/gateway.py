"""A real gateway: `stormsail serve` as its own process on free loopback ports, and what tests ask of it.

In: settings that differ from the usual ones. Out: ports, the API by the control socket, the command line, its log. It
can be stopped, killed and started again on the same data.
"""

from __future__ import annotations

import json
import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from .ports import free_port
from .realparts import short_folder
from .waiting import wait_until

DIRECTORY = """address,name,segment,kind,aliases,members
ann@example.com,Ann Lee,leeds,mailbox,ann.lee@example.com a.lee@example.com,
bob@example.com,Bob Fox,leeds,mailbox,,
carl@example.com,Carl May,london,mailbox,,
dora@example.com,Dora Day,london,mailbox,,
info@example.com,Info,,shared,,
all@example.com,Everybody,,group,,ann@example.com bob@example.com carl@example.com
guest@example.org,A Guest,,contact,,
"""
FINAL = ("relayed", "sent", "filed", "bounced", "refused", "expired", "dropped", "absorbed")


class Gateway:
    """One data directory with its configuration; `start` and `kill` as often as wanted."""

    def __init__(self, folder: Path, *, primary: int, outside: int, domain: str = "", more: str = "") -> None:
        self.folder = folder
        self.config = folder / "stormsail.toml"
        self.data = folder / "data"
        self.mx, self.connector, self.http = free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        (folder / "mailboxes.csv").write_text(DIRECTORY)
        self.configure(primary=primary, outside=outside, domain=domain, more=more)

    def configure(
        self, *, primary: int, outside: int, domain: str = "", more: str = "", primary_more: str = "", limits: str = ""
    ) -> None:
        """Writes the configuration; takes effect at the next start or reload."""
        self.config.write_text(f"""
[server]
hostname = "mx.example.com"
data_dir = "data"
[listen]
mx = ["127.0.0.1:{self.mx}"]
connector = ["127.0.0.1:{self.connector}"]
http = ["127.0.0.1:{self.http}"]
[limits]
connections_per_address = 500
{limits or "disk_reserve = 1048576"}
[[primary]]
name = "exchange"
next_hops = ["127.0.0.1:{primary}"]
tls = "none"
connector_networks = ["127.0.0.0/8"]
connector_mark = {{ header = "X-OriginatorOrg", values = ["example.com"] }}
{primary_more}
[[domain]]
name = "example.com"
primary = "exchange"
{domain}
[directory]
mailboxes = "mailboxes.csv"
[delivery]
route = "smarthost"
smarthost = "127.0.0.1:{outside}"
smarthost_tls = "none"
retry_first_s = 0.3
retry_max_s = 1.0
connect_timeout_s = 5
reply_timeout_s = 5
dot_timeout_s = 5
{more}
""")

    # ── life ──

    def start(self, prefix: Sequence[str] = (), env: dict[str, str] | None = None) -> None:
        """Starts the process and waits for its `ready`; `prefix` goes before the command (strace, faketime)."""
        command = [*prefix, sys.executable, "-m", "stormsail.cli", "serve", "--config", str(self.config)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, **(env or {})}, start_new_session=True
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode()
        if not line.startswith("ready"):
            raise AssertionError(f"the gateway did not start: {line}{self.log()}")

    def stop(self) -> int:
        """A clean stop; gives the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """The process is gone at once, with everything it started."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        os.killpg(self._running.pid, signal.SIGSTOP)

    def go_on(self) -> int:
        """Continues a paused process and waits for its end; gives the exit code."""
        os.killpg(self._running.pid, signal.SIGCONT)
        return self._running.wait(20)

    @property
    def pid(self) -> int:
        """The process that was started: the gateway itself where there was no prefix."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def wait(self, patience_s: float = 20) -> int:
        """Waits for the process to end by itself."""
        return self._running.wait(patience_s)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            pass
        code = self._process.wait(40)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process = None
        return code

    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")[-6000:] if self._log.exists() else ""

    # ── mail in ──

    def smtp(self, port: int | None = None) -> smtplib.SMTP:
        """A client that has said EHLO."""
        client = smtplib.SMTP("127.0.0.1", port or self.mx, timeout=20)
        client.ehlo("client.test")
        return client

    def send(
        self, recipients: str | Sequence[str], content: bytes, *, reverse_path: str = "x@example.org", port: int = 0
    ) -> str:
        """Hands in one message and gives the reply to its dot, `CODE text`."""
        with self.smtp(port or self.mx) as client:
            client.mail(reverse_path)
            for one in [recipients] if isinstance(recipients, str) else recipients:
                code, text = client.rcpt(one)
                if code != 250:
                    return f"{code} {text.decode()}"
            code, text = client.data(content)
            return f"{code} {text.decode()}"

    # ── the API and the command line ──

    def api(self, method: str, path: str, **more: Any) -> Any:
        """A call by the control socket; its answer as data. Raises AssertionError where it is refused."""
        transport = httpx.HTTPTransport(uds=str(self.data / "control.sock"))
        with httpx.Client(transport=transport, base_url="http://stormsail", timeout=60) as client:
            answer = client.request(method, f"/api/v1{path}", **more)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def status(self) -> Any:
        return self.api("GET", "/status")

    def cli(self, *words: str, text: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """`stormsail WORDS --config …`, as a person would call it."""
        command = [sys.executable, "-m", "stormsail.cli", *words, "--config", str(self.config)]
        return subprocess.run(command, input=text, capture_output=True, timeout=120)

    def cli_json(self, *words: str) -> Any:
        """What a command prints with `--json`; it must succeed."""
        done = self.cli(*words, "--json")
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def totals(self) -> dict[str, int]:
        """Deliveries by state, open and final, without zeros."""
        status = self.status()
        both = {**status["queue"], **status["totals"]}
        return {name: count for name, count in both.items() if count and name not in ("oldest_age_s", "accepted")}

    def wait_for(self, patience_s: float = 20, **wanted: int) -> None:
        """Waits until exactly these states have so many deliveries and no other has any."""

        def reached() -> bool:
            return self.totals() == wanted

        wait_until(reached, f"{wanted}", patience_s, lambda: f"{self.totals()}\n{self.log()}")

    def assert_sound(self) -> None:
        """`ledger check` finds nothing, and what was accepted is the sum of all states."""
        done = self.cli("ledger", "check")
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        status = self.status()
        parts = [status["queue"][name] for name in status["queue"] if name != "oldest_age_s"]
        assert status["totals"]["accepted"] == sum(parts) + sum(status["totals"][name] for name in FINAL)

    # ── people ──

    def add_account(self, address: str, role: str = "staff", password: str = "correct horse battery") -> str:
        """An account and a token for it."""
        done = self.cli("account", "add", address, "--role", role, "--password-stdin", text=password.encode())
        assert done.returncode == 0, done.stderr.decode()
        answer = httpx.post(
            f"http://127.0.0.1:{self.http}/api/v1/session", json={"address": address, "password": password}, timeout=20
        )
        assert answer.status_code < 300, answer.text
        return str(answer.json()["token"])

    def as_person(self, token: str) -> httpx.Client:
        """The API over TCP as somebody who has signed in."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.http}/api/v1", headers={"authorization": f"Bearer {token}"}, timeout=20
        )


@contextmanager
def running_gateway(
    *, primary: int, outside: int | None = None, domain: str = "", more: str = "", started: bool = True
) -> Iterator[Gateway]:
    """A gateway that relays to `primary` and sends out to `outside`, both loopback ports."""
    with short_folder("gw") as folder:
        gateway = Gateway(folder, primary=primary, outside=outside or free_port(), domain=domain, more=more)
        try:
            if started:
                gateway.start()
            yield gateway
        finally:
            gateway.kill()


def message(subject: str = "hello", text: str = "How are you?", **fields: str) -> bytes:
    """A small message with CRLF line ends."""
    head = {"From": "x@example.org", "To": "ann@example.com", "Subject": subject, **fields}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in head.items()]
    return "\r\n".join([*lines, "", *text.split("\n"), ""]).encode()
