"""Opening an SMTP connection: TCP, banner, EHLO, STARTTLS by policy, AUTH where there is a user (RFC 5321 §3.1, 3207).

In: a next hop and its policy. Out: a `Connection`. Fails with ConnectFailed, which says at which stage and how.
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import cast

import aiosmtplib
import msgspec

from stormsail.config import PrimarySettings, TlsMode
from stormsail.config.settings import parse_listener
from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.replies import Stage
from stormsail.domain.reply import Reply, escape, parse_reply

from .connection import Connection


class NextHop(msgspec.Struct, frozen=True):
    """Where to connect and how. `name` is what a certificate must be valid for; `host` may be its address."""

    name: str
    host: str
    port: int
    tls: TlsMode
    tls_ca: str | None = None
    user: str | None = None
    password: str | None = None

    def __str__(self) -> str:
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return where if self.name == self.host else f"{self.name} ({where})"


def hops_of_primary(primary: PrimarySettings, base: Path) -> list[NextHop]:
    """A primary's next hops in order, as configured; `base` is where the configuration's paths begin."""
    ca = str(base / primary.tls_ca) if primary.tls_ca is not None else None
    places = [parse_listener(text) for text in primary.next_hops]
    return [NextHop(place.host, place.host, place.port, primary.tls, ca) for place in places]


class ConnectFailed(NextHopUnavailable):
    """No usable connection. `reply` is the peer's, or one of ours that says what happened."""

    def __init__(self, stage: Stage, reply: Reply, remote: str) -> None:
        super().__init__(reply.text)
        self.stage = stage
        self.peer_reply = reply
        self.remote = remote


async def open_connection(hop: NextHop, hostname: str, timeout_s: float) -> Connection:
    """A negotiated connection to the next hop. Raises ConnectFailed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _negotiate(hop, hostname, timeout_s, hop.tls is not TlsMode.NONE)
    except _HandshakeFailed as failed:
        if hop.tls is TlsMode.REQUIRE:
            raise ConnectFailed(Stage.STARTTLS, _own("4.7.5", f"TLS failed: {failed}"), str(hop)) from failed
    except TimeoutError as error:
        raise ConnectFailed(Stage.CONNECT, _own("4.4.1", "The connection timed out"), str(hop)) from error
    try:
        async with asyncio.timeout(timeout_s):
            return await _negotiate(hop, hostname, timeout_s, False)
    except TimeoutError as error:
        raise ConnectFailed(Stage.CONNECT, _own("4.4.1", "The connection timed out"), str(hop)) from error


class _HandshakeFailed(Exception):
    """STARTTLS was offered and its handshake did not succeed."""


async def _negotiate(hop: NextHop, hostname: str, timeout_s: float, try_tls: bool) -> Connection:
    client = aiosmtplib.SMTP(
        hostname=hop.host, port=hop.port, local_hostname=hostname, timeout=timeout_s, start_tls=False, use_tls=False
    )
    stage = Stage.CONNECT
    try:
        await client.connect()
        stage = Stage.EHLO
        await _introduce(client)
        tls = ""
        if try_tls:
            stage = Stage.STARTTLS
            tls = await _secure(client, hop)
        if hop.user is not None:
            stage = Stage.AUTH
            await client.login(hop.user, hop.password or "")
        return _take_over(client, hop, tls)
    except BaseException as error:
        client.close()
        if isinstance(error, aiosmtplib.SMTPException):
            raise ConnectFailed(stage, _reply_of(error), str(hop)) from error
        raise


async def _introduce(client: aiosmtplib.SMTP) -> None:
    """EHLO, or HELO where the peer does not know it (RFC 5321 §3.2)."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError as error:
        if not 500 <= error.code <= 504:
            raise
        await client.helo()


async def _secure(client: aiosmtplib.SMTP, hop: NextHop) -> str:
    """STARTTLS where offered; gives the protocol's name, empty where there is no TLS."""
    if not client.supports_extension("starttls"):
        if hop.tls is TlsMode.REQUIRE:
            raise ConnectFailed(Stage.STARTTLS, _own("4.7.4", "The next hop offers no TLS"), str(hop))
        return ""
    context = await asyncio.to_thread(_context, hop)
    try:
        await client.starttls(server_hostname=hop.name, tls_context=context)
    except aiosmtplib.SMTPResponseException as error:
        if hop.tls is TlsMode.REQUIRE:
            raise
        raise _HandshakeFailed(error.message) from error
    except (ssl.SSLError, OSError, aiosmtplib.SMTPException) as error:
        raise _HandshakeFailed(escape(str(error))) from error
    await client.ehlo()
    found = client.get_transport_info("ssl_object")
    return str(found.version()) if found is not None else "TLS"


def _context(hop: NextHop) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=hop.tls_ca)
    if hop.tls is not TlsMode.REQUIRE:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _take_over(client: aiosmtplib.SMTP, hop: NextHop, tls: str) -> Connection:
    """Puts our own protocol on the negotiated transport."""
    transport = client.transport
    if transport is None or transport.is_closing():
        raise ConnectFailed(Stage.EHLO, _own("4.4.2", "The next hop closed the connection"), str(hop))
    keywords = {name.lower(): value for name, value in client.esmtp_extensions.items()}
    connection = Connection(str(hop), keywords, tls)
    connection.attach(cast("asyncio.Transport", transport))
    return connection


def _reply_of(error: aiosmtplib.SMTPException) -> Reply:
    if isinstance(error, aiosmtplib.SMTPResponseException) and 400 <= error.code <= 599:
        return parse_reply(error.code, error.message)
    return _own("4.4.1", str(error))


def _own(enhanced: str, text: str) -> Reply:
    return Reply(451, enhanced, escape(text)[:300])
