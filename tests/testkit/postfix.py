"""A private Postfix: own configuration, queue and log in a temporary folder, on a free loopback port.

Four uses: a sender that relays to the server under test, a primary that keeps mail for its people, the yardstick that
only makes mail durable (hold queue), and any mixture by naming main.cf parameters.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .ports import free_port
from .realparts import need_root, program, short_folder
from .waiting import wait_for_port, wait_until

DAEMONS = "/usr/lib/postfix/sbin"
NOBODY = 65534
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
MAIN = {
    "compatibility_level": "3.6",
    "mail_owner": "postfix",
    "setgid_group": "postdrop",
    "command_directory": "/usr/sbin",
    "daemon_directory": DAEMONS,
    "meta_directory": "/etc/postfix",
    "maillog_file_prefixes": "/tmp",
    "inet_interfaces": "127.0.0.1",
    "inet_protocols": "ipv4",
    "myhostname": "postfix.test",
    "mydestination": "",
    "mynetworks": "127.0.0.0/8",
    "alias_maps": "",
    "alias_database": "",
    "local_recipient_maps": "",
    "smtpd_relay_restrictions": "permit_mynetworks, reject",
    "smtpd_delay_reject": "yes",
    "smtp_dns_support_level": "disabled",
    "smtp_host_lookup": "native",
    "smtp_tls_security_level": "none",
    "smtputf8_enable": "yes",
    "strict_8bitmime": "no",
    "append_dot_mydomain": "no",
    "biff": "no",
    "message_size_limit": "104857600",
    "mailbox_size_limit": "0",
    "virtual_mailbox_limit": "0",
    "queue_run_delay": "2s",
    "minimal_backoff_time": "1s",
    "maximal_backoff_time": "4s",
    "smtpd_error_sleep_time": "0",
    "smtpd_client_connection_count_limit": "0",
    "anvil_rate_time_unit": "1s",
    "in_flow_delay": "0",
}
MASTER = """\
{port} inet n - n - {processes} smtpd
postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix:
    """One running instance. `port` is its SMTP port; use the functions below to get one."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        self.config = folder / "etc"
        self.maildirs = folder / "mail"
        self._log_path = folder / "log"

    def start(self, main: Mapping[str, str], processes: int = 100) -> None:
        self.config.mkdir()
        for name in ("queue", "data", "mail"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
        os.chown(self.maildirs, NOBODY, NOBODY)
        own = {
            "queue_directory": str(self.folder / "queue"),
            "data_directory": str(self.folder / "data"),
            "maillog_file": str(self._log_path),
            "virtual_mailbox_base": str(self.maildirs),
        }
        lines = [f"{name} = {value}\n" for name, value in {**MAIN, **own, **main}.items()]
        (self.config / "main.cf").write_text("".join(lines))
        (self.config / "master.cf").write_text(MASTER.format(port=f"127.0.0.1:{self.port}", processes=processes))
        self._control("start")
        wait_for_port(self.port, "Postfix", detail=self.log)

    def stop(self) -> None:
        """Ends all its processes."""
        self._control("stop", check=False)
        wait_until(lambda: self._control("status", check=False) != 0, "Postfix to end", detail=self.log)

    def restart(self) -> None:
        self.stop()
        self._control("start")
        wait_for_port(self.port, "Postfix", detail=self.log)

    def flush(self) -> None:
        """Tries everything that is deferred at once."""
        subprocess.run([program("postqueue"), "-c", self.config, "-f"], check=True, timeout=30)

    def queue(self) -> list[dict[str, Any]]:
        """What is in its queue, as `postqueue -j` says."""
        done = subprocess.run(
            [program("postqueue"), "-c", self.config, "-j"], check=True, capture_output=True, timeout=60
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    def queued_files(self, queue: str) -> int:
        """How many messages lie in one of its queues, counted on disk."""
        return sum(1 for path in (self.folder / "queue" / queue).rglob("*") if path.is_file())

    def log(self) -> str:
        """The end of its log, for the words of a failure."""
        try:
            return self._log_path.read_text("utf-8", "replace")[-4000:]
        except FileNotFoundError:
            return "(Postfix wrote no log)"

    def messages(self, user: str) -> list[bytes]:
        """What its own virtual delivery put into the maildir of `user`, oldest first."""
        paths = [path for name in ("new", "cur") for path in (self.maildirs / user / name).glob("*")]
        return [path.read_bytes() for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns)]

    def _control(self, word: str, *, check: bool = True) -> int:
        done = subprocess.run(
            [program("postfix"), "-c", self.config, word], capture_output=True, timeout=60, env={"PATH": PATH}
        )
        if check and done.returncode != 0:
            raise AssertionError(f"postfix {word} failed: {done.stderr.decode()}\n{self.log()}")
        return done.returncode


@contextmanager
def running_postfix(main: Mapping[str, str] | None = None, *, port: int | None = None) -> Iterator[Postfix]:
    """A Postfix with these main.cf parameters over the ones above."""
    program("postfix")
    need_root("Postfix")
    with short_folder("postfix") as folder:
        postfix = Postfix(folder, port or free_port())
        try:
            postfix.start(main or {})
            yield postfix
        finally:
            postfix.stop()


def sender_to(port: int, **main: str) -> dict[str, str]:
    """Parameters of a Postfix that hands everything to one loopback port."""
    return {"relayhost": f"[127.0.0.1]:{port}", **main}


def primary_for(
    domains: Sequence[str], users: Sequence[str], *, lmtp: int | None = None, **main: str
) -> dict[str, str]:
    """Parameters of a primary for `domains`: it keeps mail for `users` (full addresses) and refuses others (5.1.1).

    With `lmtp` the mail goes to that port (a Dovecot), else into maildirs of its own.
    """
    known = " ".join(f"{{{user} = {user}/}}" for user in users)
    transport = "virtual" if lmtp is None else f"lmtp:inet:127.0.0.1:{lmtp}"
    return {
        "virtual_mailbox_domains": ", ".join(domains),
        "virtual_mailbox_maps": f"inline:{{ {known} }}",
        "virtual_transport": transport,
        "virtual_uid_maps": f"static:{NOBODY}",
        "virtual_gid_maps": f"static:{NOBODY}",
        "virtual_minimum_uid": "100",
        "lmtp_destination_recipient_limit": "1",
        **main,
    }


def holding(**main: str) -> dict[str, str]:
    """Parameters of the yardstick: takes mail for everybody, makes it durable and leaves it in the hold queue."""
    return {"smtpd_recipient_restrictions": "check_client_access static:HOLD, permit", **main}
