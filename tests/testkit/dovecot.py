"""A private Dovecot: LMTP in, IMAP out, users from a password file, maildirs in a temporary folder."""

from __future__ import annotations

import imaplib
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .ports import free_port
from .realparts import need_root, program, short_folder
from .waiting import wait_for_port

PASSWORD = "reading-along"
NOBODY = 65534
CONFIG = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_format = %Lu
first_valid_uid = {uid}
mail_location = maildir:{folder}/mail/%u
mail_fsync = never
mail_max_userip_connections = 100
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
  default_fields = uid={uid} gid={uid} home={folder}/home/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  process_min_avail = 1
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp_port}
  }}
}}
service anvil {{
  chroot =
}}
"""


class Dovecot:
    """One running instance; users are full addresses, all with the same password."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.imap_port = free_port()
        self.lmtp_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, users: Sequence[str]) -> None:
        for name in ("run", "state", "mail", "home"):
            (self.folder / name).mkdir()
            (self.folder / name).chmod(0o777)
        self.set_users(users)
        config = self.folder / "dovecot.conf"
        config.write_text(
            CONFIG.format(folder=self.folder, uid=NOBODY, imap_port=self.imap_port, lmtp_port=self.lmtp_port)
        )
        self._process = subprocess.Popen(
            [program("dovecot"), "-c", config, "-F"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for_port(self.lmtp_port, "Dovecot's LMTP", self._process, self.log)
        wait_for_port(self.imap_port, "Dovecot's IMAP", self._process, self.log)

    def set_users(self, users: Sequence[str]) -> None:
        """Who has a mailbox; takes effect at once."""
        (self.folder / "users").write_text("".join(f"{user}:{PASSWORD}::::::\n" for user in users))

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def log(self) -> str:
        """The end of its log, for the words of a failure."""
        try:
            return (self.folder / "log").read_text("utf-8", "replace")[-4000:]
        except FileNotFoundError:
            return "(Dovecot wrote no log)"

    @contextmanager
    def login(self, user: str) -> Iterator[imaplib.IMAP4]:
        """An IMAP session of the user."""
        with imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=30) as client:
            client.login(user, PASSWORD)
            yield client

    def messages(self, user: str, folder: str = "INBOX") -> list[bytes]:
        """The raw messages in a folder in order of their UID, read over IMAP."""
        with self.login(user) as client:
            client.select(folder, readonly=True)
            _, answer = client.uid("FETCH", "1:*", "(BODY.PEEK[])")
            return [part[1] for part in answer if isinstance(part, tuple)]

    def count(self, user: str) -> int:
        """How many messages are in the user's inbox, counted on disk."""
        return sum(1 for name in ("new", "cur") for _ in (self.folder / "mail" / user / name).glob("*"))


@contextmanager
def running_dovecot(users: Sequence[str]) -> Iterator[Dovecot]:
    """A Dovecot that knows these users."""
    program("dovecot")
    need_root("Dovecot")
    with short_folder("dovecot") as folder:
        dovecot = Dovecot(folder)
        try:
            dovecot.start(users)
            yield dovecot
        finally:
            dovecot.stop()
