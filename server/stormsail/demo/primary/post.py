"""The post room of the sandbox primary: who is who, what goes into which mailbox, what goes out.

In: accepted messages from its doors. Out: mailboxes, and an outbox that is emptied through the gateway's connector,
each message with the tenant's mark (DESIGN §3.5). What is broken decides what moves; nothing accepted is lost.
"""

from __future__ import annotations

import asyncio
from email.utils import formatdate, make_msgid

import aiosmtplib
import msgspec

from stormsail.demo.faults import Faults, Kind
from stormsail.demo.people import DOMAIN, OPERATOR
from stormsail.directory import DirectorySnapshot, Entry, EntryKind
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadAddress

from .mailboxes import INBOX, Mailboxes
from .spool import Spool, Waiting

MARK = "X-OriginatorOrg"
HOST = f"mail.{DOMAIN}"
OUT_PAUSE_S = 0.5
RETRY_PAUSE_S = 3.0
SEND_TIMEOUT_S = 30.0


class Tally(msgspec.Struct):
    """What happened so far, for the console."""

    delivered: int = 0
    sent: int = 0
    refused: int = 0


class Post:
    """Knows mailboxes and faults; `break_with` replaces what is broken. `moving` is set while mailboxes can be used."""

    def __init__(
        self,
        directory: DirectorySnapshot,
        mailboxes: Mailboxes,
        outbox: Spool,
        stuck: Spool,
        connector: tuple[str, int],
    ) -> None:
        self.directory = directory
        self.mailboxes = mailboxes
        self.outbox = outbox
        self.stuck = stuck
        self.faults = Faults()
        self.tally = Tally()
        self.moving = asyncio.Event()
        self.moving.set()
        self._connector = connector

    def break_with(self, faults: Faults) -> None:
        """From now on this is broken; what waited for mailboxes that work again is delivered."""
        self.faults = faults
        if faults.has(Kind.MAILBOX):
            self.moving.clear()
        else:
            self.moving.set()
            self._unstick()

    def entry(self, address: str) -> Entry | None:
        """Who has this address here."""
        try:
            return self.directory.resolve(parse_address(address))
        except BadAddress:
            return None

    def is_ours(self, address: str) -> bool:
        return self.directory.is_ours(address.rpartition("@")[2].lower())

    def accept(self, reverse_path: str, recipients: list[str], content: bytes, trace: str) -> None:
        """Takes responsibility for a message; every recipient of ours is known."""
        traced = trace.encode() + content
        inside, outside = self._sort(recipients)
        if inside and self.faults.has(Kind.MAILBOX):
            self.stuck.add(reverse_path, inside, traced)
        else:
            self._deliver(reverse_path, inside, traced)
        if outside:
            self.outbox.add(reverse_path, outside, f"{MARK}: {DOMAIN}\r\n".encode() + traced)

    def file_sent(self, author: str, content: bytes) -> None:
        """The author's own copy of what was submitted."""
        self.mailboxes.deliver(author, content, "Sent", {"\\Seen"})

    def _unstick(self) -> None:
        for waiting in self.stuck.list():
            self._deliver(waiting.reverse_path, waiting.recipients, self.stuck.content(waiting))
            self.stuck.remove(waiting)

    async def send_out(self) -> None:
        """Empties the outbox for ever, while sending works."""
        while True:
            waiting = self.outbox.list()
            if not waiting or self.faults.has(Kind.OUTBOUND):
                await asyncio.sleep(OUT_PAUSE_S)
                continue
            try:
                await self._send_all(waiting)
            except (aiosmtplib.SMTPException, OSError):
                await asyncio.sleep(RETRY_PAUSE_S)

    def _sort(self, recipients: list[str]) -> tuple[list[str], list[str]]:
        """Mailboxes here, each once, and addresses elsewhere; groups are expanded, contacts lead outside."""
        inside: dict[str, None] = {}
        outside: dict[str, None] = {}
        for recipient in recipients:
            entry = self.entry(recipient) if self.is_ours(recipient) else None
            if entry is None or entry.kind is EntryKind.CONTACT:
                outside[recipient] = None
                continue
            inside |= dict.fromkeys(self.directory.copies_for(entry.address))
        return list(inside), list(outside)

    def _deliver(self, reverse_path: str, mailboxes: list[str], content: bytes) -> None:
        for address in mailboxes:
            self.mailboxes.deliver(address, f"Return-Path: <{reverse_path}>\r\n".encode() + content, INBOX)
            self.tally.delivered += 1

    async def _send_all(self, waiting: tuple[Waiting, ...]) -> None:
        host, port = self._connector
        client = aiosmtplib.SMTP(
            hostname=host, port=port, local_hostname=HOST, timeout=SEND_TIMEOUT_S, validate_certs=False
        )
        async with client:
            for message in waiting:
                if self.faults.has(Kind.OUTBOUND):
                    return
                await self._send_one(client, message)

    async def _send_one(self, client: aiosmtplib.SMTP, waiting: Waiting) -> None:
        content = self.outbox.content(waiting)
        try:
            refused, _ = await client.sendmail(waiting.reverse_path, waiting.recipients, content)
        except aiosmtplib.SMTPRecipientsRefused as error:
            refused = {each.recipient: aiosmtplib.SMTPResponse(each.code, each.message) for each in error.recipients}
        except aiosmtplib.SMTPResponseException as error:
            if error.code < 500:
                raise
            answer = aiosmtplib.SMTPResponse(error.code, error.message)
            refused = dict.fromkeys(waiting.recipients, answer)
        later = [to for to, answer in refused.items() if answer.code < 500]
        never = {to: answer for to, answer in refused.items() if answer.code >= 500}
        self.tally.sent += len(waiting.recipients) - len(refused)
        if never:
            self._return(waiting, {to: f"{answer.code} {answer.message}" for to, answer in never.items()})
        if later:
            self.outbox.keep(msgspec.structs.replace(waiting, recipients=later))
        else:
            self.outbox.remove(waiting)

    def _return(self, waiting: Waiting, never: dict[str, str]) -> None:
        """Tells the author in plain words that something could not be sent."""
        author = self.entry(waiting.reverse_path)
        self.tally.refused += len(never)
        if author is None:
            return
        reasons = "".join(f"{to}: {answer}\r\n" for to, answer in never.items())
        notice = (
            f"From: Mail system <{OPERATOR}>\r\nTo: <{author.address}>\r\nSubject: Could not be sent\r\n"
            f"Date: {formatdate()}\r\nMessage-ID: {make_msgid(domain=DOMAIN)}\r\nAuto-Submitted: auto-replied\r\n\r\n"
            f"Your message could not be sent to:\r\n\r\n{reasons}"
        )
        self._deliver("", [author.address], notice.encode("utf-8", "replace"))
