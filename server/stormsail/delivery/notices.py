"""Notices of failure to authors of ours: one for all recipients that failed in the same attempt (RFC 3461 §6.3).

A notice and the final state it tells of are one commit, so that a recipient is reported failed at most once. There
is none for a message with the null reverse path (RFC 5321 §4.5.5), and none to strangers (DESIGN §3.9).
"""

from __future__ import annotations

import asyncio
import secrets

import structlog

from stormsail.clock import Clock, to_rfc5322
from stormsail.directory import Directory
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadAddress, PermanentError
from stormsail.domain.ids import id_to_text
from stormsail.intake import Writing
from stormsail.mail.dsn import FailedRecipient, Notice, build_dsn
from stormsail.mail.fields import header_length
from stormsail.store import BodyDamaged, BodyFiles

from .attempt import Attempt, Outgoing
from .settle import FailedLeg

log = structlog.get_logger()


class Notices:
    """Writes notices by way of the intake."""

    def __init__(self, writing: Writing, directory: Directory, bodies: BodyFiles, clock: Clock, hostname: str) -> None:
        self._writing = writing
        self._directory = directory
        self._bodies = bodies
        self._clock = clock
        self._hostname = hostname

    async def notify(self, attempt: Attempt, failed: list[FailedLeg]) -> bool:
        """Tells the author; False where nobody is to be told, and then nothing was written."""
        author = attempt.message.reverse_path
        if not author or not self._is_ours(author):
            return False
        notice = self._notice(attempt, author, failed)
        content = build_dsn(notice, await self._header(attempt.message))
        try:
            await self._writing.send_notice(author, content, [one.change for one in failed])
        except PermanentError as error:
            log.warning("author_cannot_be_told", message=id_to_text(attempt.message.id), why=error.sentence)
            return False
        return True

    def _is_ours(self, address: str) -> bool:
        try:
            return self._directory.snapshot.is_ours(parse_address(address).domain)
        except BadAddress:
            return False

    def _notice(self, attempt: Attempt, author: str, failed: list[FailedLeg]) -> Notice:
        people = tuple(FailedRecipient(one.leg.recipient, one.result.reply, one.change.remote) for one in failed)
        return Notice(
            self._hostname,
            author,
            self._writing.new_message_id(),
            to_rfc5322(self._clock.now_ms()),
            to_rfc5322(attempt.message.received_at),
            id_to_text(attempt.message.id),
            f"=_{secrets.token_hex(16)}",
            people,
        )

    async def _header(self, message: Outgoing) -> bytes:
        content = message.content
        if content is None:
            try:
                content = await asyncio.to_thread(self._bodies.read, message.body)
            except BodyDamaged:
                return b""
        length = header_length(content)
        return content[: length if length is not None else 0]
