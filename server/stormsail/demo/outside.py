"""The world outside: people who write to the demo's organisation, and the server that takes their mail.

In: mail that the gateway sends out. Out: answers and new letters to the gateway's MX. Like any sender, the outside
queues what is refused for now and tries again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import parseaddr

import aiosmtplib
import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from .letters import Letter, Writer
from .people import DOMAIN

GONE = "former.partner@example.net"
"""An address that the outside refuses, so that a non-delivery notice is seen now and then."""
WRITERS = (
    Writer("Bob Sinclair", "bob.sinclair@example.org"),
    Writer("Janet Lowe", "janet@example.net"),
    Writer("Former Partner", GONE),
    Writer("Lars Eriksen", "lars@nordlys-shipping.example"),
    Writer("Marta Kowalska", "m.kowalska@kestrel-marine.example", "pl"),
    Writer("Stefan Huber", "huber@huber-technik.example", "de"),
    Writer("Sabine Krause", "s.krause@elbe-logistik.example", "de"),
    Writer("Élodie Garnier", "elodie@garnier-freres.example", "fr"),
    Writer("Carlos Mendoza", "cmendoza@puerto-norte.example", "es"),
    Writer("Giulia Ferri", "giulia@ferri-design.example", "it"),
    Writer("佐藤 愛子", "sato@sakura-denki.example", "ja"),
    Writer("陈伟", "chen.wei@pearl-river.example", "zh"),
    Writer("ليلى حداد", "layla@haddad-trading.example", "ar"),
    Writer("Ольга Петренко", "petrenko@dnipro-steel.example", "uk"),
)
UNREADABLE = (LookupError, ValueError, AttributeError, TypeError, RecursionError)
"""What the email package is known to raise on hostile messages."""
RETRY_S = 4.0
KEPT = 500


class Arrived(msgspec.Struct, frozen=True):
    """A message that reached the outside."""

    reverse_path: str
    recipients: tuple[str, ...]
    author: Writer
    subject: str
    text: str
    message_id: str


class Outside:
    """Takes mail on a loopback port and hands what came to `on_mail`."""

    def __init__(self, port: int, on_mail: Callable[[Arrived], None]) -> None:
        self._port = port
        self._on_mail = on_mail
        self._server: asyncio.Server | None = None
        self.arrived = 0

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: SMTP(self, hostname="mx.outside.example"), "127.0.0.1", self._port
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, path: str, options: list[str]) -> str:
        if path == GONE:
            return "550 5.1.1 The address has been closed"
        if path.endswith(f"@{DOMAIN}"):
            return "550 5.7.1 Not here"
        envelope.rcpt_tos.append(path)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        self.arrived += 1
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self._on_mail(_read(envelope.mail_from or "", tuple(envelope.rcpt_tos), content))
        return "250 2.0.0 taken"


def _read(reverse_path: str, recipients: tuple[str, ...], content: bytes) -> Arrived:
    """What a correspondent sees of a message; of one that cannot be read, nothing."""
    try:
        message = message_from_bytes(content)
        name, address = parseaddr(_decoded(message.get("From", "")))
        body = next((part for part in message.walk() if part.get_content_type() == "text/plain"), None)
        payload = body.get_payload(decode=True) if body is not None else b""
        subject, message_id = _decoded(message.get("Subject", "")), str(message.get("Message-ID", "")).strip()
    except UNREADABLE:
        return Arrived(reverse_path, recipients, Writer("", ""), "", "", "")
    text = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
    return Arrived(reverse_path, recipients, Writer(name or address, address), subject, text, message_id)


def _decoded(value: object) -> str:
    try:
        return str(make_header(decode_header(str(value))))
    except (LookupError, ValueError):
        return str(value)


def writer_at(address: str) -> Writer | None:
    """The correspondent with that address."""
    return next((writer for writer in WRITERS if writer.address == address), None)


def in_words(error: Exception) -> str:
    """Why a letter was not taken: the reply as it was said, else what went wrong."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        error = error.recipients[0]
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {' '.join(error.message.split())}"
    return str(error).partition(": ")[0]


class Sender:
    """The outside's mail servers: hand letters to the gateway's MX, keep those that were refused for now."""

    def __init__(self, port: int, on_trouble: Callable[[Letter, str], None]) -> None:
        self._port = port
        self._on_trouble = on_trouble
        self._waiting: list[Letter] = []
        self.accepted = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def send(self, letter: Letter) -> bool:
        """Tries once; True when the gateway took it."""
        try:
            refused, _ = await aiosmtplib.send(
                letter.content,
                sender=letter.author.address,
                recipients=list(letter.recipients),
                hostname="127.0.0.1",
                port=self._port,
                local_hostname=f"mail.{letter.author.domain}",
                validate_certs=False,
                timeout=30,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            return self._refused(letter, in_words(error))
        for address, answer in refused.items():
            only = msgspec.structs.replace(letter, recipients=(address,))
            self._refused(only, f"{answer.code} {answer.message}")
        self.accepted += 1
        return True

    async def retry(self) -> None:
        """Tries what waits, for ever."""
        while True:
            await asyncio.sleep(RETRY_S * random.uniform(0.8, 1.2))
            waiting, self._waiting = self._waiting, []
            for letter in waiting:
                await self.send(letter)

    def _refused(self, letter: Letter, why: str) -> bool:
        if not why.startswith("5") and len(self._waiting) < KEPT:
            self._waiting.append(letter)
        self._on_trouble(letter, why)
        return False
