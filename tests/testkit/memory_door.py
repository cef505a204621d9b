"""An SMTP door without sockets, disk or ledger: a `MailSession` on a transport in memory, for fuzzing.

In: what a peer says, turn by turn, each turn in pieces. Out: every octet of the answers, and the messages taken. The
door's own parts are real; only the directory and the intake behind it are stand-ins, which answer now and then only
after a while, as the real ones do.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from structlog.testing import capture_logs

from stormsail.config import LimitSettings
from stormsail.domain.address import parse_address
from stormsail.domain.errors import RelayDenied
from stormsail.domain.routing import Direction, RecipientKind
from stormsail.intake import Accepted, HeaderCheck, Incoming, Intake, ReceivedBody, Recipients, ResolvedRecipient, Told
from stormsail.smtpserver import Admission, DataMemory, Door, DoorParts
from stormsail.smtpserver.session import MailSession
from stormsail.store import BodyFiles
from testkit.received import content_of

PEER = "192.0.2.1"
DOMAIN = "example.com"
ALL_READ, _FAR_END = socket.socketpair(socket.AF_UNIX)
"""A socket whose peer has taken everything that was said."""
LIMITS = LimitSettings(message_size=20_000, recipients=4, commands=60, junk=8, data_memory=1 << 20)
QUIET_ROUNDS = 4
"""So many turns of the loop without anything new mean that the session waits for its peer."""


@dataclass(frozen=True)
class TakenMessage:
    """A message that the intake was given and has kept."""

    reverse_path: str
    recipients: tuple[str, ...]
    content: bytes
    altered: bool


@dataclass
class Heard:
    """What came of a dialogue: the octets answered, the messages taken, and what went wrong inside."""

    answers: bytes = b""
    taken: list[TakenMessage] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    ended: bool = False
    """Whether the door ended the connection before the peer did."""


class MemoryTransport(asyncio.Transport):
    """Keeps what is written; closing tells the protocol on the next turn of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.protocol: MailSession | None = None
        self.closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": (PEER, 25), "socket": ALL_READ}.get(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self.closing:
            self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing and self.protocol is not None:
            self.closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.close()

    def pause_reading(self) -> None:
        """The pieces come all the same: a peer may have sent them already."""

    def resume_reading(self) -> None:
        pass


class MemoryRecipients:
    """Everybody at example.com is known, those whose name begins with "slow" only after a while."""

    postmaster = f"postmaster@{DOMAIN}"

    def known(self, text: str) -> ResolvedRecipient | None:
        address = parse_address(text)
        if address.domain != DOMAIN or address.local.startswith("slow"):
            return None
        return ResolvedRecipient(
            str(address), address.key, DOMAIN, RecipientKind.OURS, address.key, None, True, "exchange"
        )

    async def resolve(self, direction: Direction, text: str) -> ResolvedRecipient:
        address = parse_address(text)
        await asyncio.sleep(0)
        if address.domain != DOMAIN:
            raise RelayDenied("We do not relay mail for this recipient")
        return ResolvedRecipient(str(address), address.key, DOMAIN, RecipientKind.OURS, primary="exchange")


class MemoryIntake:
    """Keeps every message; whether at once or slowly depends on the message alone, so that a dialogue can be repeated."""

    def __init__(self, files: BodyFiles) -> None:
        self._files = files
        self.taken: list[TakenMessage] = []
        self.settled: list[int] = []
        """Confirmed or orphaned: each message must be, once."""

    def check_room(self) -> None:
        pass

    def take_at_once(self, incoming: Incoming, body: ReceivedBody, told: Told) -> bool:
        if body.content is None or zlib.crc32(body.content) % 3 == 0:
            return False
        asyncio.get_running_loop().call_soon(told, self._keep(incoming, body))
        return True

    async def take(self, incoming: Incoming, body: ReceivedBody) -> Accepted:
        await asyncio.sleep(0)
        return self._keep(incoming, body)

    def _keep(self, incoming: Incoming, body: ReceivedBody) -> Accepted:
        content = content_of(self._files, body)
        to = tuple(one.address for one in incoming.recipients)
        self.taken.append(TakenMessage(incoming.reverse_path, to, content, body.facts.altered))
        return Accepted(len(self.taken), ())

    def confirm(self, accepted: Accepted) -> None:
        self.settled.append(accepted.id)

    def orphan(self, accepted: Accepted) -> None:
        self.settled.append(accepted.id)


class MemoryDoor:
    """Makes sessions, one for each dialogue."""

    def __init__(self, folder: Path) -> None:
        self._check = HeaderCheck(b"secret", "mx.example.com", frozenset())
        self._files = BodyFiles(folder)

    def _door(self, intake: MemoryIntake) -> Door:
        parts = DoorParts(
            direction=Direction.MX,
            hostname="mx.example.com",
            limits=LIMITS,
            admission=Admission(10, 10),
            memory=DataMemory(LIMITS.data_memory),
            intake=cast(Intake, intake),
            recipients=cast(Recipients, MemoryRecipients()),
            check_header=self._check,
            spool=self._files.spool,
            message_size=lambda: LIMITS.message_size,
            admits=lambda _: True,
            tls=lambda: None,
        )
        return Door(parts)

    async def talk(self, turns: Sequence[Sequence[bytes]], wait_between: Callable[[], bool]) -> Heard:
        """A whole dialogue: each turn is said once the last one is answered, in pieces, between which the session gets
        time where `wait_between` says so."""
        heard = Heard()
        intake = MemoryIntake(self._files)
        door = self._door(intake)
        door.note_behaviour(PEER, good=True)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: heard.faults.append(str(context.get("message"))))
        with capture_logs() as logged:
            transport, session = MemoryTransport(), MailSession(door)
            transport.protocol = session
            session.connection_made(transport)
            await _quiet(transport, intake)
            await _say(transport, session, intake, turns, wait_between)
            heard.ended = transport.closing
            await _hang_up(transport, session, intake)
        heard.faults += [str(one) for one in logged if one.get("log_level") in ("error", "critical")]
        heard.faults += _leftovers(door, session, intake)
        heard.answers, heard.taken = bytes(transport.written), intake.taken
        return heard


async def _say(
    transport: MemoryTransport,
    session: MailSession,
    intake: MemoryIntake,
    turns: Sequence[Sequence[bytes]],
    wait_between: Callable[[], bool],
) -> None:
    for turn in turns:
        for piece in turn:
            if transport.closing:
                return
            session.data_received(piece)
            if wait_between():
                await _quiet(transport, intake)
        await _quiet(transport, intake)


async def _hang_up(transport: MemoryTransport, session: MailSession, intake: MemoryIntake) -> None:
    """The peer has said everything and goes."""
    if not transport.closing:
        session.eof_received()
        await _quiet(transport, intake)
    transport.close()
    await _quiet(transport, intake)


async def _quiet(transport: MemoryTransport, intake: MemoryIntake) -> None:
    before, quiet = (-1, -1, False), 0
    while quiet < QUIET_ROUNDS:
        await asyncio.sleep(0)
        now = (len(transport.written), len(intake.taken), transport.closing)
        quiet = quiet + 1 if now == before else 0
        before = now


def _leftovers(door: Door, session: MailSession, intake: MemoryIntake) -> list[str]:
    """What may not be left when a session is over."""
    faults = []
    if session.task is None or not session.task.done():
        faults.append("the session's task goes on")
    elif not session.task.cancelled() and (error := session.task.exception()) is not None:
        faults.append(f"the session ended with {error!r}")
    if door.sessions or door.parts.admission.open:
        faults.append("the session's place is not free again")
    if door.parts.memory.used:
        faults.append(f"{door.parts.memory.used} octets of memory are not given back")
    if sorted(intake.settled) != list(range(1, len(intake.taken) + 1)):
        faults.append(f"{len(intake.taken)} messages, but settled are {intake.settled}")
    return faults
