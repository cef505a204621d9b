"""The sandbox primary as a process: `python -m stormsail.demo.primary SETTINGS.json`.

In: a settings file, the faults file beside the mail. Out: SMTP, submission and IMAP on loopback; one line `ready`.
SIGTERM ends it; what it accepted is on disk.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl
import sys
import warnings
from contextlib import suppress
from pathlib import Path

from stormsail.demo.faults import TAKEN, Faults, read_faults, write_faults
from stormsail.demo.people import DOMAIN
from stormsail.directory import DirectorySnapshot, DomainRule, make_snapshot
from stormsail.directory.csvfile import read_csv
from stormsail.directory.snapshot import WITH_COPIES

from .doors import Doors
from .imap import ImapDoor
from .mailboxes import Mailboxes
from .post import Post
from .settings import SandboxSettings, read_settings
from .spool import Spool

LOOK_S = 0.2


class Sandbox:
    """The whole primary. `run` until cancelled."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._folder = Path(settings.mail_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        directory = _directory(Path(settings.directory_csv))
        addresses = [entry.address for entry in directory.entries.values() if entry.kind in WITH_COPIES]
        self.post = Post(
            directory,
            Mailboxes(self._folder / "mailboxes", addresses),
            Spool(self._folder / "outbox"),
            Spool(self._folder / "stuck"),
            (settings.host, settings.connector_port),
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(settings.certificate, settings.key)
        self._doors = Doors(self.post, settings.host, (settings.smtp_port, settings.submission_port), tls)
        self._imap = ImapDoor(self.post, settings.host, settings.imap_port)

    async def run(self) -> None:
        """Serves and sends until cancelled."""
        self.post.break_with(read_faults(self._folder))
        if not self.post.faults.gone:
            await self._open()
        write_faults(self._folder, self.post.faults, TAKEN)
        print("ready", flush=True)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.post.send_out())
            tasks.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            wanted = read_faults(self._folder)
            if wanted != self.post.faults:
                await self._change(wanted)
                write_faults(self._folder, wanted, TAKEN)

    async def _change(self, wanted: Faults) -> None:
        was_gone = self.post.faults.gone
        self.post.break_with(wanted)
        if wanted.gone and not was_gone:
            self._doors.shut()
            self._imap.shut()
        elif was_gone and not wanted.gone:
            await self._open()

    async def _open(self) -> None:
        await self._doors.open()
        await self._imap.open()


def _directory(path: Path) -> DirectorySnapshot:
    entries = [entry for _, entry in read_csv(path.read_text("utf-8"), [DOMAIN]).lines]
    return make_snapshot(entries, [DomainRule(DOMAIN, "sandbox", "refuse")], None, "+")


async def _main(path: Path) -> None:
    # aiosmtpd warns at every sign-in of things that are so on purpose here: clear text on loopback, its own old field.
    logging.getLogger("mail.log").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="Requiring AUTH")
    running = asyncio.ensure_future(Sandbox(read_settings(path)).run())
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    with suppress(asyncio.CancelledError):
        await running


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
