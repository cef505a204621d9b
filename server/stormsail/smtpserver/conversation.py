"""One SMTP session on an aiosmtpd protocol (RFC 5321, RFC 2920, RFC 3207).

What is replaced of aiosmtpd 1.4.6, and why: its constructor looks through all its methods for every connection; its
client loop takes lines that end in a bare LF, knows no limits and lets unknown failures be permanent; its DATA reads
line by line, holds everything in memory and times the whole transfer; it drains after every reply. The protocol,
its command table and its plain commands are used as they are.

In: octets from a peer. Out: replies, and messages given to the intake. Every failure becomes a reply; one that is
not in the error tree becomes 451.
"""

from __future__ import annotations

import asyncio
import fcntl
import struct
import termios
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from aiosmtpd.smtp import SMTP

from stormsail.domain.errors import UNKNOWN_FAILURE, StormsailError
from stormsail.domain.reply import Reply, escape
from stormsail.intake import Accepted

from .commands import QUICK_LIMIT, malformed, quick_command
from .data import DataCollector

if TYPE_CHECKING:
    from .door import Door

BUFFER_LIMIT = 65_536
UNREAD_REPLIES_LIMIT = 262_144
BANNER_PAUSE_S = 0.01
STOPPING = Reply(421, "4.3.2", "The gateway is stopping, please try again shortly")
log = structlog.get_logger()

Command = Callable[[Any, str], Awaitable[None]]
QuickCommand = Callable[[Any, str], bool]
"""Gives False where it would have to wait, and then has done nothing."""


class Conversation(SMTP):
    """A connection to a door; the commands are its subclass's."""

    commands: ClassVar[dict[bytes, Command]] = {}
    at_once: ClassVar[dict[bytes, QuickCommand]] = {}
    """Commands that mostly need no waiting: done as they arrive, without waking the session's task (a fifth faster)."""

    def __init__(self, door: Door) -> None:
        # Not aiosmtpd's constructor: see above. These are the attributes that its methods used here read.
        self.loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=BUFFER_LIMIT, loop=self.loop)
        asyncio.StreamReaderProtocol.__init__(self, reader, self._cb_client_connected, loop=self.loop)
        self.enable_SMTPUTF8 = False
        self.hostname = door.parts.hostname
        self.transport: Any = None
        self._tls_protocol = None
        self._original_transport = None

        self._door = door
        self._parts = door.parts
        self.task: asyncio.Task[None] | None = None
        self.peer = "unknown"
        self._admitted = False
        self._tls_name = ""
        self._fed = 0
        self._taken = 0
        self._ending = False
        self._commands_left = self._parts.limits.commands
        self._junk_left = self._parts.limits.junk
        self._unconfirmed: Accepted | None = None
        self._in_transaction = False
        self._text: DataCollector | None = None
        """Of the message whose text is coming in."""
        self._deciding = False
        """A message is whole and its reply is not given yet: what the peer sends meanwhile waits in `_early`."""
        self._early = b""
        self._early_end = False
        self._resting = False
        """The task waits for a command, and nothing of one is there yet."""
        self.silent_since: float | None = self.loop.time()
        """Since when the peer has owed us something; None while it waits for us."""
        self.ended_at: float | None = None
        """When we ended the session; the connection lives until the peer has taken our last replies."""

    # ── the connection ──

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        asyncio.StreamReaderProtocol.connection_made(self, transport)
        self.transport = transport
        name = transport.get_extra_info("peername")
        self.peer = name[0].partition("%")[0] if name else "unknown"
        self._door.sessions.add(self)
        self.task = self._handler_coroutine = self.loop.create_task(self._handle_client())

    def data_received(self, data: bytes) -> None:
        if self._unconfirmed is not None and not self.reply_in_doubt():
            self._parts.intake.confirm(self._unconfirmed)
            self._unconfirmed = None
        self._fed += len(data)
        if self._deciding:
            self._wait(data)
            return
        if self.silent_since is not None:
            self.silent_since = self.loop.time()
        if self._text is not None:
            self._take_text(self._text, data)
        else:
            self._take_commands(data)

    def _take_commands(self, data: bytes) -> None:
        if not (self._resting and self._take_at_once(data)):
            self._resting = False
            super().data_received(data)

    def _take_text(self, text: DataCollector, data: bytes) -> None:
        """Hands the text of a message on as it comes; what is behind its end has to wait for the reply."""
        behind = text.feed(data)
        self._taken += len(data) - len(behind or b"")
        if behind is None:
            return
        self._text = None
        self._deciding = True
        self.silent_since = None
        if behind:
            self._wait(behind)
        self._text_is_whole(text)

    def _wait(self, data: bytes) -> None:
        self._early += data
        if len(self._early) > BUFFER_LIMIT:
            self.transport.pause_reading()

    def _text_is_whole(self, text: DataCollector) -> None:
        """The end of a message has come: `_decided` is to be called once it was answered."""
        raise NotImplementedError

    def _decided(self) -> None:
        """The reply was given: on with what came meanwhile."""
        self._deciding = False
        self.silent_since = self.loop.time()
        if self.transport is None:
            return
        if self._ending:
            self._goodbye(STOPPING)
            return
        early, self._early = self._early, b""
        if early:
            self.transport.resume_reading()
            self._take_commands(early)
        if self._early_end:
            self._reader.feed_eof()

    def _take_at_once(self, data: bytes) -> bool:
        """Whether the data was one whole command that could be done here and now."""
        command = quick_command(data) if len(data) <= QUICK_LIMIT else None
        quick = self.at_once.get(command[0]) if command is not None else None
        if command is None or quick is None or self._ending or self._commands_left <= 0:
            return False
        self._taken += len(data)
        if self._does_at_once(quick, command[1]):
            self._commands_left -= 1
            return True
        self._taken -= len(data)
        return False

    def _does_at_once(self, quick: QuickCommand, argument: str) -> bool:
        try:
            return quick(self, argument)
        except StormsailError as error:
            self._say(error.reply)
            return True
        except Exception:
            # The task does it again and makes a reply of whatever goes wrong.
            log.exception("quick_command_failed", peer=self.peer)
            return False

    def eof_received(self) -> bool:
        if self._deciding:
            self._early_end = True
        else:
            self._reader.feed_eof()
        return not self._tls_name

    def connection_lost(self, error: Exception | None) -> None:
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if self.task is not None:
            self.task.cancel()
        self.transport = None
        self._door.sessions.discard(self)

    def reply_in_doubt(self) -> bool:
        """Whether the peer's machine has not acknowledged everything we sent (SIOCOUTQ)."""
        if self.transport is None:
            return True
        socket = self.transport.get_extra_info("socket")
        try:
            unsent = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]
        except OSError:
            return True
        return bool(unsent > 0 or self.transport.get_write_buffer_size() > 0)

    def end_soon(self) -> None:
        """The gateway is stopping: end now where the peer waits for nothing, else after the current command."""
        self._ending = True
        if self.silent_since is not None and not self._in_transaction:
            self._goodbye(STOPPING)

    def time_out(self) -> None:
        self._goodbye(Reply(421, "4.4.2", "You were silent for too long"))

    def cut_off(self) -> None:
        """The peer does not take our last replies (a window of zero): its place and our memory are for others."""
        if self.transport is not None:
            self.transport.abort()
        self._door.sessions.discard(self)

    def _goodbye(self, reply: Reply) -> None:
        if self.transport is not None:
            self._say(reply)
            self._end()

    def _end(self) -> None:
        if self.ended_at is None:
            self.ended_at = self.loop.time()
        self.transport.close()

    # ── the conversation ──

    async def _handle_client(self) -> None:
        try:
            if await self._greet():
                await self._converse()
        except (asyncio.IncompleteReadError, ConnectionError):
            log.debug("peer_gone", peer=self.peer)
        finally:
            self._leave()

    async def _greet(self) -> bool:
        """The banner, unless there is no place, the peer may not use this door, or it talks before its turn."""
        refusal = self._parts.admission.enter(self.peer)
        if refusal is not None:
            self._goodbye(Reply(421, "4.7.0", refusal))
            return False
        self._admitted = True
        if not self._parts.admits(self.peer):
            self._goodbye(Reply(554, "5.7.1", "This door is not for your address"))
            return False
        await asyncio.sleep(0 if self._door.is_well_behaved(self.peer) else BANNER_PAUSE_S)
        if self._fed:
            self._door.note_behaviour(self.peer, good=False)
            self._goodbye(Reply(554, "5.5.0", "You talked before the greeting"))
            return False
        self._write(f"220 {self.hostname} ESMTP Stormsail\r\n".encode())
        return True

    async def _converse(self) -> None:
        while self.transport is not None and not self.transport.is_closing():
            self._resting = self._waiting_octets == 0
            try:
                line = await self._reader.readuntil(b"\n")
            except asyncio.LimitOverrunError:
                self._goodbye(Reply(500, "5.5.2", "The command line is too long"))
                return
            self._resting = False
            self._taken += len(line)
            self.silent_since = None
            await self._execute(line)
            if not self._deciding:
                self.silent_since = self.loop.time()
            if self._ending and not self._in_transaction:
                self._goodbye(STOPPING)

    async def _execute(self, line: bytes) -> None:
        """One command line; whatever goes wrong becomes a reply."""
        self._commands_left -= 1
        if self._commands_left < 0:
            self._goodbye(Reply(421, "4.7.0", "Too many commands in one session"))
            return
        problem = malformed(line)
        if problem is not None:
            self._junk(problem)
            return
        verb, _, argument = line[:-2].partition(b" ")
        command = self.commands.get(verb.upper())
        if command is None:
            self._junk(Reply(500, "5.5.1", "The command is not known"))
            return
        try:
            await command(self, argument.decode("ascii").strip())
        except StormsailError as error:
            self._say(error.reply)
        except Exception as error:
            if isinstance(error, (asyncio.IncompleteReadError, ConnectionError)):
                raise
            log.exception("session_failed", peer=self.peer, verb=escape(verb.decode("ascii", "replace")))
            self._say(UNKNOWN_FAILURE)

    def _junk(self, reply: Reply) -> None:
        self._junk_left -= 1
        if self._junk_left < 0:
            self._door.note_behaviour(self.peer, good=False)
            self._goodbye(Reply(421, "4.7.0", "Too many commands that make no sense"))
        else:
            self._say(reply)

    def _say(self, reply: Reply) -> None:
        self._write(reply.wire() + b"\r\n")

    def _write(self, data: bytes) -> None:
        """Sends without waiting; a peer that does not read its replies is cut off."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > UNREAD_REPLIES_LIMIT:
            transport.abort()

    async def push(self, status: str | bytes) -> None:
        """aiosmtpd's commands answer by this; it waits for nothing."""
        self._write((status.encode("ascii", "replace") if isinstance(status, str) else status) + b"\r\n")

    def _leave(self) -> None:
        if self._unconfirmed is not None:
            self._parts.intake.orphan(self._unconfirmed)
            self._unconfirmed = None
        if self._admitted:
            self._parts.admission.leave(self.peer)
            self._admitted = False
        if self._text is not None:
            self._text.discard()
            self._text = None
        if self.transport is not None:
            self._end()

    @property
    def _waiting_octets(self) -> int:
        """Octets that came in and were not looked at yet."""
        return self._fed - self._taken
