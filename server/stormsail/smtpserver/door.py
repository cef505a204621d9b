"""One SMTP door: what its sessions share, and the listeners it opens.

In: `DoorParts`. Out: listening sockets; sessions that live until their peer, a limit or `close` ends them.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from stormsail.config import LimitSettings, Listener
from stormsail.domain.routing import Direction
from stormsail.intake import HeaderCheck, Intake, Recipients
from stormsail.store import SpooledBody

from .conversation import Conversation
from .limits import Admission, DataMemory
from .session import MailSession

SWEEP_S = 1.0
WELL_BEHAVED = 10_000
CLOSE_S = 20.0


@dataclass(frozen=True)
class DoorParts:
    """What a door works with. `message_size` is asked at each EHLO: the smaller of ours and the primary's last."""

    direction: Direction
    hostname: str
    limits: LimitSettings
    admission: Admission
    memory: DataMemory
    intake: Intake
    recipients: Recipients
    check_header: HeaderCheck
    spool: Callable[[], SpooledBody]
    message_size: Callable[[], int]
    admits: Callable[[str], bool]
    """Whether a peer's address may talk to this door at all."""
    tls: Callable[[], ssl.SSLContext | None]


class Door:
    """Listens and keeps its sessions."""

    def __init__(self, parts: DoorParts) -> None:
        self.parts = parts
        self.sessions: set[Conversation] = set()
        """Those whose connection is there, also when all is said and the peer has only to take it."""
        self.open = True
        self._finishing: set[asyncio.Task[None]] = set()
        """Messages that came in whole and are being taken, whether or not their session still lives."""
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.Task[None] | None = None
        self._well_behaved: OrderedDict[str, None] = OrderedDict()

    async def listen(self, listeners: list[Listener]) -> list[Listener]:
        """Opens the sockets; says at which addresses. Raises OSError where one is taken."""
        loop = asyncio.get_running_loop()
        bound: list[Listener] = []
        for listener in listeners:
            server = await loop.create_server(
                lambda: MailSession(self), listener.host, listener.port, backlog=1024, reuse_address=True
            )
            self._servers.append(server)
            bound.append(Listener(listener.host, server.sockets[0].getsockname()[1]))
        if self._sweeper is None:
            self._sweeper = loop.create_task(self._sweep())
        return bound

    async def close(self) -> None:
        """Takes no more mail; gives sessions that are in the middle of a message a while to end."""
        self.open = False
        for server in self._servers:
            server.close()
        for session in list(self.sessions):
            session.end_soon()
        tasks = [*self._finishing, *(session.task for session in self.sessions if session.task is not None)]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)

    def finish(self, task: asyncio.Task[None]) -> None:
        """Keeps a task of a session until it is done."""
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def is_well_behaved(self, address: str) -> bool:
        """Whether this address has handed us mail in good form lately: it need not wait for the banner."""
        return address in self._well_behaved

    def note_behaviour(self, address: str, *, good: bool) -> None:
        if not good:
            self._well_behaved.pop(address, None)
            return
        self._well_behaved[address] = None
        if len(self._well_behaved) > WELL_BEHAVED:
            self._well_behaved.popitem(last=False)

    async def _sweep(self) -> None:
        """Ends sessions whose peer has been silent for too long (RFC 5321 §4.5.3.2.7) or does not take our goodbye."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            silence = self.parts.limits.read_timeout_s
            for session in list(self.sessions):
                if session.ended_at is not None:
                    if now - session.ended_at >= SWEEP_S:
                        session.cut_off()
                elif session.silent_since is not None and now - session.silent_since > silence:
                    session.time_out()
