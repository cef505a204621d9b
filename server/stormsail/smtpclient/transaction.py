"""One mail transaction on an open connection (RFC 5321 §3.3, RFC 2920), per recipient to the last reply.

In: an envelope and the message, whole or in pieces as they are read. Out: a result for each recipient, and whether a
reply to the final dot was lost. The bytes sent are those given, with dots doubled (§4.5.2), nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from stormsail.domain.errors import NextHopUnavailable, StormsailError
from stormsail.domain.replies import Stage
from stormsail.domain.reply import Reply

from .connection import Connection

CHUNK = 262_144
Message = bytes | AsyncIterator[bytes]
"""Pieces that end with an error are a message that must not arrive."""
LOST = Reply(451, "4.4.2", "The connection was lost")


class Envelope(msgspec.Struct, frozen=True):
    """Reverse path (empty: null) and recipients, as they go on the wire; `size` counts the octets of the message."""

    reverse_path: str
    recipients: tuple[str, ...]
    size: int
    eight_bit: bool


class RecipientResult(msgspec.Struct, frozen=True):
    """The last reply for one recipient and where it came. `in_doubt`: the dot was sent, its reply never came."""

    reply: Reply
    stage: Stage
    in_doubt: bool = False


class Transaction(msgspec.Struct, frozen=True):
    """The results in the order of the recipients."""

    results: list[RecipientResult]
    dot_sent: bool


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds to wait for a reply to a command, and to the final dot (RFC 5321 §4.5.3.2)."""

    reply_s: float
    dot_s: float


async def run_transaction(
    connection: Connection, envelope: Envelope, message: Message, timeouts: Timeouts
) -> Transaction:
    """Sends one message. Never raises for what a peer may do; the connection is closed where it cannot be used on."""
    run = _Run(connection, envelope, timeouts)
    try:
        await run.execute(message)
    except NextHopUnavailable as error:
        run.lose(error.sentence)
    except asyncio.CancelledError:
        connection.close("The attempt was called off")
        raise
    return Transaction(run.results(), run.dot_sent)


async def verify_recipient(connection: Connection, recipient: str, timeouts: Timeouts) -> RecipientResult:
    """Asks whether the peer would take the recipient, with the null reverse path, and sends nothing (a call-out)."""
    stage = Stage.MAIL
    try:
        for asked, command in ((Stage.MAIL, "MAIL FROM:<>"), (Stage.RCPT, f"RCPT TO:<{recipient}>")):
            stage = asked
            answer = connection.expect()
            connection.send(command.encode("utf-8") + b"\r\n")
            reply = await connection.reply(answer, timeouts.reply_s)
            if not reply.positive:
                break
        if connection.lost is None:
            answer = connection.expect()
            connection.send(b"RSET\r\n")
            await connection.reply(answer, timeouts.reply_s)
    except NextHopUnavailable as error:
        return RecipientResult(Reply(451, "4.4.2", error.sentence), stage)
    return RecipientResult(reply, stage)


class _Run:
    """The state of one transaction."""

    def __init__(self, connection: Connection, envelope: Envelope, timeouts: Timeouts) -> None:
        self._connection = connection
        self._envelope = envelope
        self._timeouts = timeouts
        self._results: list[RecipientResult | None] = [None] * len(envelope.recipients)
        self._stage = Stage.MAIL
        self.dot_sent = False

    async def execute(self, message: Message) -> None:
        connection = self._connection
        connection.replies_since_start = 0
        commands = [
            self._mail_command(),
            *(f"RCPT TO:<{recipient}>" for recipient in self._envelope.recipients),
            "DATA",
        ]
        if connection.pipelining:
            answers = [connection.expect() for _ in commands]
            connection.send("".join(f"{command}\r\n" for command in commands).encode("utf-8"))
            mail_reply = await self._wait(answers[0])
            for at, answer in enumerate(answers[1:-1]):
                self._note_recipient(at, mail_reply, await self._wait(answer))
            data_reply: Reply | None = await self._wait(answers[-1], Stage.DATA)
        else:
            mail_reply = await self._ask(commands[0])
            if mail_reply.positive:
                for at, command in enumerate(commands[1:-1]):
                    self._note_recipient(at, mail_reply, await self._ask(command))
            else:
                self._refuse_rest(RecipientResult(mail_reply, Stage.MAIL))
            data_reply = await self._ask("DATA", Stage.DATA) if self._accepted else None
        await self._send_text(message, data_reply)

    async def _send_text(self, message: Message, data_reply: Reply | None) -> None:
        """The text after 354, or the end of a transaction without one."""
        connection = self._connection
        if data_reply is None or data_reply.code != 354:
            if data_reply is not None and self._accepted:
                self._refuse_rest(RecipientResult(_not_positive(data_reply), Stage.DATA))
            if connection.lost is None:
                await self._ask("RSET")
            return
        self._stage = Stage.DOT
        final = connection.expect()
        if not self._accepted:
            # The peer wants text though it took no recipient (RFC 2920 §3.1): give it none.
            connection.send(b".\r\n")
            await connection.reply(final, self._timeouts.dot_s)
            return
        await self._send_pieces(message, final)
        reply = await connection.reply(final, self._timeouts.dot_s)
        if not reply.positive and reply.code < 400:
            # Neither taken nor refused: what became of it is not known.
            connection.close(f"The peer answered the end of the message with {reply}")
            raise NextHopUnavailable(f"The peer answered the end of the message with {reply}")
        self._refuse_rest(RecipientResult(reply, Stage.DOT))

    async def _send_pieces(self, message: Message, final: asyncio.Future[Reply]) -> None:
        """Sends the dotted text; a peer that answers in the middle of it is believed only if it refuses."""
        connection, dots = self._connection, _Dots()
        if isinstance(message, bytes) and len(message) <= CHUNK:
            connection.send(dots.double(message) + dots.end())
            self.dot_sent = True
            return
        try:
            async for piece in _chunks(message):
                if final.done():
                    break
                connection.send(dots.double(piece))
                await connection.drain(self._timeouts.reply_s)
        except NextHopUnavailable:
            raise
        except StormsailError as error:
            # Without its end the peer throws away what it has got.
            connection.close("The message cannot be read to its end")
            self._refuse_rest(RecipientResult(Reply(451, "4.6.0", error.sentence), Stage.DATA))
            return
        if final.done():
            connection.close("The peer answered in the middle of the message")
            reply = final.result() if final.exception() is None else LOST
            self._refuse_rest(RecipientResult(_not_positive(reply), Stage.DATA))
            raise NextHopUnavailable("The peer answered in the middle of the message")
        connection.send(dots.end())
        self.dot_sent = True

    def lose(self, reason: str) -> None:
        """The connection is gone: what is not settled is in doubt if the dot was sent, else simply not sent."""
        reply = Reply(451, "4.4.2", reason)
        in_doubt = self.dot_sent
        self._refuse_rest(RecipientResult(reply, Stage.DOT if in_doubt else self._stage, in_doubt))

    def results(self) -> list[RecipientResult]:
        return [result or RecipientResult(LOST, self._stage) for result in self._results]

    @property
    def _accepted(self) -> bool:
        return any(result is None for result in self._results)

    def _mail_command(self) -> str:
        keywords = self._connection.keywords
        command = f"MAIL FROM:<{self._envelope.reverse_path}>"
        if "size" in keywords:
            command += f" SIZE={self._envelope.size}"
        if self._envelope.eight_bit and "8bitmime" in keywords:
            command += " BODY=8BITMIME"
        if "smtputf8" in keywords and not "".join((command, *self._envelope.recipients)).isascii():
            command += " SMTPUTF8"
        return command

    def _note_recipient(self, at: int, mail_reply: Reply, reply: Reply) -> None:
        if not mail_reply.positive:
            self._results[at] = RecipientResult(mail_reply, Stage.MAIL)
        elif not reply.positive:
            self._results[at] = RecipientResult(reply, Stage.RCPT)

    def _refuse_rest(self, result: RecipientResult) -> None:
        self._results = [known or result for known in self._results]

    async def _ask(self, command: str, stage: Stage | None = None) -> Reply:
        answer = self._connection.expect()
        self._connection.send(command.encode("utf-8") + b"\r\n")
        return await self._wait(answer, stage)

    async def _wait(self, answer: asyncio.Future[Reply], stage: Stage | None = None) -> Reply:
        if stage is not None:
            self._stage = stage
        return await self._connection.reply(answer, self._timeouts.reply_s)


class _Dots:
    """A message as it goes on the wire: dots doubled at the beginning of lines, CRLF and a dot at its end."""

    def __init__(self) -> None:
        self._last = b"\r\n"

    def double(self, piece: bytes) -> bytes:
        text = self._last + piece
        doubled = text.replace(b"\r\n.", b"\r\n..")[len(self._last) :]
        self._last = text[-2:]
        return doubled

    def end(self) -> bytes:
        return b".\r\n" if self._last == b"\r\n" else b"\r\n.\r\n"


async def _chunks(message: Message) -> AsyncIterator[bytes]:
    if isinstance(message, bytes):
        for start in range(0, len(message), CHUNK):
            yield message[start : start + CHUNK]
    else:
        async for piece in message:
            yield piece


def _not_positive(reply: Reply) -> Reply:
    """A reply that makes no sense where it came is a failure of the system."""
    return reply if reply.code >= 400 else Reply(451, "4.5.0", f"The peer answered out of turn: {reply}")
