"""An SMTP server whose behaviour is a script: the next hop at its worst.

In: a `Behaviour`, which may be changed while it runs. Out: what it was told (commands) and what it took (messages,
byte for byte). It can refuse, stall, reset, answer anything to anybody, forget to answer, and offer or spoil STARTTLS.
Pauses at a stage let a test do something while a command is in the air, without any sleep.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import cast

from stormsail.domain.replies import Stage

from .ports import free_port

LINE_LIMIT = 1 << 20
ENDLESS_CHUNK = b"2" * 65536


class Act(Enum):
    """Instead of a reply."""

    CLOSE = auto()
    RESET = auto()
    SILENCE = auto()
    """Never answers, keeps the connection."""
    ENDLESS = auto()
    """A reply line without an end."""


Answer = str | bytes | Act
"""A reply line (CRLF is added), raw bytes as they are, or an act."""
Script = Answer | Sequence[Answer] | Callable[[str], Answer]
"""One answer for ever; a list of answers in turn, the last one for ever; or decided by the command."""


@dataclass
class Behaviour:
    """What the server does; everything not named here goes well."""

    on: dict[Stage, Script] = field(default_factory=dict)
    """CONNECT, GREETING (the banner), EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA (before the 354) and DOT."""
    recipients: dict[str, Script] = field(default_factory=dict)
    """RCPT by address, before `on[RCPT]`."""
    keywords: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 52428800", "ENHANCEDSTATUSCODES")
    tls: ssl.SSLContext | None = None
    delay_s: float = 0.0
    """Before each reply: a tarpit."""
    cut_after: int | None = None
    """Resets the connection after so many octets of a message's content."""


@dataclass
class Taken:
    """A message that reached its final dot; `reply` is what the peer was told, None where nothing was."""

    helo: str
    reverse_path: str
    mail_options: list[str]
    recipients: list[str]
    content: bytes
    tls: bool
    connection: int
    reply: str | None = None


@dataclass
class Session:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    number: int
    helo: str = ""
    tls: bool = False
    mail: tuple[str, list[str]] | None = None
    recipients: list[str] = field(default_factory=list)


class _Ended(Exception):
    """The session is over."""


class ScriptedSmtp:
    """`async with ScriptedSmtp() as server:`; change `server.behaviour` at any time."""

    def __init__(self, behaviour: Behaviour | None = None, port: int | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.port = port or free_port()
        self.messages: list[Taken] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.arrivals: dict[Stage, int] = {}
        """How often each stage was reached; counts before a pause, so a test can wait for it."""
        self._gates: dict[Stage, asyncio.Event] = {}
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ScriptedSmtp:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        for task in list(self._sessions):
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def listen(self) -> None:
        """Takes connections (again)."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=LINE_LIMIT)

    async def refuse(self) -> None:
        """Connections are refused from now on; those that stand go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def drop_connections(self) -> None:
        """Ends every connection that stands."""
        for task in list(self._sessions):
            task.cancel()

    def pause_at(self, stage: Stage) -> None:
        """Lets every session wait when it would answer at this stage."""
        self._gates[stage] = asyncio.Event()

    @property
    def paused_stages(self) -> set[Stage]:
        """The stages at which sessions wait now."""
        return set(self._gates)

    def resume(self, stage: Stage) -> None:
        """Lets the waiting go on."""
        self._gates.pop(stage).set()

    @property
    def recipients(self) -> list[str]:
        """The recipients of all messages that were answered with 2xx, in order."""
        return [to for taken in self.messages if (taken.reply or "").startswith("2") for to in taken.recipients]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        self.connections += 1
        self.open_connections += 1
        try:
            await self._converse(Session(reader, writer, self.connections))
        except (_Ended, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            self._sessions.discard(task)
            writer.close()

    async def _converse(self, session: Session) -> None:
        await self._answer(session, Stage.CONNECT, "", None)
        await self._answer(session, Stage.GREETING, "", "220 next.hop.test ESMTP")
        while True:
            line = await session.reader.readuntil(b"\n")
            command = line.decode("utf-8", "surrogateescape").rstrip("\r\n")
            self.commands.append(command)
            await self._obey(session, command)

    async def _obey(self, session: Session, command: str) -> None:
        verb = command.upper()
        if verb.startswith(("EHLO", "HELO")):
            session.helo = command[5:]
            await self._answer(session, Stage.EHLO, command, self._ehlo(session))
        elif verb == "STARTTLS" and self.behaviour.tls is not None:
            await self._start_tls(session, command)
        elif verb.startswith("MAIL FROM:"):
            if await self._answer(session, Stage.MAIL, command, "250 2.1.0 ok"):
                session.mail, session.recipients = _path_of(command), []
        elif verb.startswith("RCPT TO:"):
            await self._recipient(session, command)
        elif verb == "DATA":
            await self._data(session, command)
        elif verb.startswith("AUTH "):
            await self._answer(session, Stage.AUTH, command, "235 2.7.0 welcome")
        elif verb == "QUIT":
            await self._say(session, "221 2.0.0 bye")
            raise _Ended
        elif verb in ("RSET", "NOOP"):
            session.mail, session.recipients = (None, []) if verb == "RSET" else (session.mail, session.recipients)
            await self._say(session, "250 2.0.0 ok")
        else:
            await self._say(session, "500 5.5.1 what?")

    def _ehlo(self, session: Session) -> str:
        offers = [*self.behaviour.keywords]
        if self.behaviour.tls is not None and not session.tls:
            offers.append("STARTTLS")
        lines = ["next.hop.test", *offers]
        return "\r\n".join(f"250{'-' if at < len(lines) - 1 else ' '}{line}" for at, line in enumerate(lines))

    async def _start_tls(self, session: Session, command: str) -> None:
        if not await self._answer(session, Stage.STARTTLS, command, "220 2.0.0 go ahead"):
            return
        assert self.behaviour.tls is not None
        try:
            await session.writer.start_tls(self.behaviour.tls)
        except (ssl.SSLError, OSError) as error:
            raise _Ended from error
        session.tls, session.mail, session.recipients = True, None, []

    async def _recipient(self, session: Session, command: str) -> None:
        address, _ = _path_of(command)
        script = self.behaviour.recipients.get(address)
        if script is not None:
            self.arrivals[Stage.RCPT] = self.arrivals.get(Stage.RCPT, 0) + 1
            taken = await self._say(session, _next(script, command))
        else:
            taken = await self._answer(session, Stage.RCPT, command, "250 2.1.5 ok")
        if taken:
            session.recipients.append(address)

    async def _data(self, session: Session, command: str) -> None:
        if session.mail is None or not session.recipients:
            await self._say(session, "554 5.5.1 no valid recipients")
            return
        if not await self._answer(session, Stage.DATA, command, "354 go ahead"):
            return
        taken = Taken(
            session.helo,
            session.mail[0],
            session.mail[1],
            session.recipients,
            await self._content(session),
            session.tls,
            session.number,
        )
        session.mail, session.recipients = None, []
        self.messages.append(taken)
        answer = await self._decide(Stage.DOT, command, f"250 2.0.0 ok, message {len(self.messages)}")
        if isinstance(answer, str):
            taken.reply = answer
        await self._say(session, answer)

    async def _content(self, session: Session) -> bytes:
        """The message as it was before dot-stuffing (RFC 5321 §4.5.2)."""
        lines: list[bytes] = []
        size = 0
        while (line := await session.reader.readuntil(b"\n")) != b".\r\n":
            lines.append(line[1:] if line.startswith(b".") else line)
            size += len(line)
            if self.behaviour.cut_after is not None and size > self.behaviour.cut_after:
                _reset(session.writer)
                raise _Ended
        return b"".join(lines)

    async def _answer(self, session: Session, stage: Stage, command: str, well: Answer | None) -> bool:
        return await self._say(session, await self._decide(stage, command, well))

    async def _decide(self, stage: Stage, command: str, well: Answer | None) -> Answer | None:
        self.arrivals[stage] = self.arrivals.get(stage, 0) + 1
        gate = self._gates.get(stage)
        if gate is not None:
            await gate.wait()
        script = self.behaviour.on.get(stage)
        return well if script is None else _next(script, command)

    async def _say(self, session: Session, answer: Answer | None) -> bool:
        """Says it; True where it was a positive reply."""
        if answer is None:
            return True
        if self.behaviour.delay_s:
            await asyncio.sleep(self.behaviour.delay_s)
        match answer:
            case Act.CLOSE:
                raise _Ended
            case Act.RESET:
                _reset(session.writer)
                raise _Ended
            case Act.SILENCE:
                await session.reader.read(-1)
                raise _Ended
            case Act.ENDLESS:
                while True:
                    session.writer.write(ENDLESS_CHUNK)
                    await session.writer.drain()
            case bytes():
                session.writer.write(answer)
            case str():
                session.writer.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
        await session.writer.drain()
        if answer[:3] in ("421", b"421"):
            raise _Ended
        return answer[:1] in ("2", "3", b"2", b"3")


def _next(script: Script, command: str) -> Answer:
    if isinstance(script, str | bytes | Act):
        return script
    if callable(script):
        return script(command)
    turns = cast("list[Answer]", script)
    return turns.pop(0) if len(turns) > 1 else turns[0]


def _path_of(command: str) -> tuple[str, list[str]]:
    """The path in angle brackets and the parameters behind it."""
    path, _, options = command.partition("<")[2].rpartition(">")
    return path, options.split()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection by a TCP reset instead of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
