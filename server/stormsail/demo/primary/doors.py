"""The sandbox primary's SMTP doors: mail from the world (RFC 5321, STARTTLS) and submission by its people (RFC 6409).

In: connections. Out: messages for `Post`. What is broken decides the answers; they are worded like Exchange Online's.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from stormsail.demo.faults import Kind
from stormsail.demo.people import STAFF_PASSWORD
from stormsail.directory import Entry, EntryKind

from .post import HOST, Post

SIZE_LIMIT = 36_700_160
"""What Exchange Online takes by default."""
BUSY = "451 4.7.500 Server busy. Please try again later from [127.0.0.1]"
SHUT = "451 4.3.2 STOREDRV.Deliver; database is not available"
UNKNOWN = "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient {} not found by SMTP address lookup"
IDENTITY_DOWN = "454 4.7.0 Temporary authentication failure"
DROP_EVERY = 3
LINE_LIMIT = 1 << 20


class Door(SMTP):
    """One connection. Keeps the set of open transports up to date, so that all can be cut."""

    line_length_limit = LINE_LIMIT

    def __init__(
        self, handler: Any, transports: set[asyncio.Transport], drops: Callable[[], bool], **options: Any
    ) -> None:
        super().__init__(handler, data_size_limit=SIZE_LIMIT, hostname=HOST, ident="Sandbox primary", **options)
        self._transports = transports
        self._drops = drops

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._drops():
            transport.abort()
        self._transports.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._transports.difference_update([each for each in self._transports if each.is_closing()])
        super().connection_lost(error)


class Inbound:
    """Mail from the world; the gateway is the only one that sends it here."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._connections = 0

    def drops(self) -> bool:
        """Whether this connection is simply cut: part of what a sick front end does."""
        self._connections += 1
        return self._post.faults.has(Kind.INBOUND) and self._connections % DROP_EVERY == 0

    async def handle_MAIL(self, _: SMTP, __: Session, envelope: Envelope, path: str, options: list[str]) -> str:
        if self._post.faults.has(Kind.INBOUND):
            return BUSY
        envelope.mail_from = path
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, path: str, options: list[str]) -> str:
        if not self._post.is_ours(path):
            return "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"
        entry = self._post.entry(path)
        if entry is None or (self._post.faults.has(Kind.BOUNCE) and not self._post.faults.gone):
            return UNKNOWN.format(path)
        if entry.segment in self._post.faults.segments:
            return SHUT
        envelope.rcpt_tos.append(path)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        if self._post.faults.has(Kind.INBOUND):
            return BUSY
        return _take(self._post, session, envelope)


class Submission:
    """Mail from the primary's own people, with their password."""

    def __init__(self, post: Post) -> None:
        self._post = post

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, mechanism: str, data: object) -> AuthResult:
        if self._post.faults.has(Kind.IDENTITY):
            return AuthResult(success=False, handled=False, message=IDENTITY_DOWN)
        if mechanism not in ("LOGIN", "PLAIN") or not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        entry = self._post.entry(data.login.decode("utf-8", "replace"))
        right = data.password.decode("utf-8", "replace") == STAFF_PASSWORD
        if entry is None or entry.kind is not EntryKind.MAILBOX or not right:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=entry)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, path: str, options: list[str]
    ) -> str:
        author = self._author(session)
        if author.segment in self._post.faults.segments:
            return SHUT
        claimed = self._post.entry(path)
        if claimed is None or (claimed != author and author.address not in claimed.members):
            return "550 5.7.60 SMTP; Client does not have permissions to send as this sender"
        envelope.mail_from = path
        envelope.mail_options.extend(options)
        return "250 2.1.0 Sender OK"

    async def handle_RCPT(self, _: SMTP, __: Session, envelope: Envelope, path: str, options: list[str]) -> str:
        if self._post.is_ours(path) and self._post.entry(path) is None:
            return UNKNOWN.format(path)
        envelope.rcpt_tos.append(path)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 Recipient OK"

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        self._post.file_sent(self._author(session).address, _content(envelope))
        return _take(self._post, session, envelope)

    @staticmethod
    def _author(session: Session) -> Entry:
        return cast("Entry", session.auth_data)


def _content(envelope: Envelope) -> bytes:
    assert isinstance(envelope.content, bytes)
    return envelope.content


def _take(post: Post, session: Session, envelope: Envelope) -> str:
    peer = session.peer[0] if session.peer else "unknown"
    helo = (session.host_name or "unknown").encode("ascii", "replace").decode()
    protocol = "ESMTPS" if session.ssl else "ESMTP"
    trace = f"Received: from {helo} ([{peer}])\r\n\tby {HOST} with {protocol};\r\n\t{formatdate()}\r\n"
    post.accept(envelope.mail_from or "", envelope.rcpt_tos, _content(envelope), trace)
    return "250 2.6.0 Queued mail for delivery"


class Doors:
    """Both listeners; they can be shut, cutting all connections, and opened again on the same ports."""

    def __init__(self, post: Post, host: str, ports: tuple[int, int], tls: ssl.SSLContext) -> None:
        self._host = host
        self._ports = ports
        self._servers: list[asyncio.Server] = []
        self._transports: set[asyncio.Transport] = set()
        inbound, submission = Inbound(post), Submission(post)
        self._makers: list[Callable[[], SMTP]] = [
            lambda: Door(inbound, self._transports, inbound.drops, tls_context=tls),
            lambda: Door(
                submission,
                self._transports,
                lambda: False,
                tls_context=tls,
                authenticator=submission.authenticate,
                auth_required=True,
                auth_require_tls=False,
            ),
        ]

    async def open(self) -> None:
        """Takes connections."""
        loop = asyncio.get_running_loop()
        for maker, port in zip(self._makers, self._ports, strict=True):
            self._servers.append(await loop.create_server(maker, self._host, port))

    def shut(self) -> None:
        """Refuses connections and cuts those that stand."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for transport in self._transports:
            transport.abort()
        self._transports.clear()
