"""Which messages were written to whom, and which of them are in the primary's mailboxes: the demo's own proof.

In: every message as it is accepted somewhere; the primary's files. Out: what is missing and what is there twice. A file
is read once. Messages without a Message-ID (a device's) are not counted.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import msgspec

from stormsail.directory import DomainRule, make_snapshot
from stormsail.directory.csvfile import read_csv
from stormsail.domain.address import parse_address

from .people import DOMAIN, directory_csv

HEAD = 65_536
MESSAGE_ID = re.compile(rb"^message-id:\s*<([^>\r\n]+)>", re.IGNORECASE | re.MULTILINE)


class Balance(msgspec.Struct, frozen=True):
    """Copies that should be in mailboxes of the primary, and are not, or are there more than once."""

    expected: int
    missing: tuple[tuple[str, str], ...]
    repeated: int


class Scoreboard:
    """Counts by (message, mailbox)."""

    def __init__(self, mail: Path) -> None:
        self._mailboxes = mail / "mailboxes"
        entries = [entry for _, entry in read_csv(directory_csv(), [DOMAIN]).lines]
        self._directory = make_snapshot(entries, [DomainRule(DOMAIN, "sandbox", "verify")], None, "+")
        self._expected: dict[tuple[str, str], float] = {}
        self._found: dict[tuple[str, str], int] = {}
        self._seen: set[str] = set()

    def written(self, message_id: str, recipients: tuple[str, ...]) -> None:
        """A message was taken by the gateway or the primary for these recipients."""
        message_id = message_id.strip("<>")
        for recipient in recipients if message_id else ():
            entry = self._directory.resolve(parse_address(recipient))
            for mailbox in self._directory.copies_for(entry.address) if entry is not None else ():
                self._expected.setdefault((message_id, mailbox), time.monotonic())

    def balance(self, older_than_s: float) -> Balance:
        """Compares what was written before then with what is there now."""
        self._look()
        limit = time.monotonic() - older_than_s
        due = [pair for pair, at in self._expected.items() if at <= limit]
        missing = tuple(pair for pair in due if pair not in self._found)
        return Balance(len(due), missing, sum(self._found.get(pair, 0) > 1 for pair in due))

    def in_mailboxes(self) -> int:
        """How many messages lie in the primary's inboxes."""
        return sum(1 for _ in self._mailboxes.glob("*/INBOX/*.eml"))

    def _look(self) -> None:
        for path in self._mailboxes.glob("*/INBOX/*.eml"):
            mailbox, uid = path.parts[-3], path.name.partition(".")[0]
            if f"{mailbox}/{uid}" in self._seen:
                continue
            try:
                with path.open("rb") as file:
                    found = MESSAGE_ID.search(file.read(HEAD))
            except FileNotFoundError:
                continue  # its flags have just changed, and with them its name: the next look finds it
            self._seen.add(f"{mailbox}/{uid}")
            if found is not None:
                pair = (found.group(1).decode("ascii", "replace"), mailbox)
                self._found[pair] = self._found.get(pair, 0) + 1
