"""The scripted SMTP server on a thread of its own, for tests that are not asynchronous themselves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from stormsail.domain.replies import Stage

from .scripted_smtp import Behaviour, ScriptedSmtp, Taken
from .waiting import wait_until


class NextHop:
    """A next hop whose behaviour is changed while mail flows."""

    def __init__(self, server: ScriptedSmtp, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def messages(self) -> list[Taken]:
        """What reached its final dot, whatever was answered."""
        return list(self.server.messages)

    @property
    def taken(self) -> list[Taken]:
        """What was answered 250."""
        return [one for one in self.server.messages if one.reply is not None and one.reply.startswith("250")]

    def behave(self, behaviour: Behaviour | None = None) -> None:
        """From now on like this; None: like a healthy server."""
        self.server.behaviour = behaviour or Behaviour()

    def pause_at(self, stage: Stage) -> None:
        """Lets every session wait when it would answer at this stage."""
        self._loop.call_soon_threadsafe(self.server.pause_at, stage)
        wait_until(lambda: stage in self.server.paused_stages, "the pause")

    def resume(self, stage: Stage) -> None:
        """Lets the waiting go on."""
        self._loop.call_soon_threadsafe(self.server.resume, stage)

    def refuse(self) -> None:
        """Connections are refused, and those that stand are dropped."""
        self._run(self.server.refuse())
        self._loop.call_soon_threadsafe(self.server.drop_connections)

    def listen(self) -> None:
        """Takes connections again."""
        self._run(self.server.listen())

    def wait_for(self, count: int, patience_s: float = 20) -> list[Taken]:
        """Waits until so many messages were taken."""
        wait_until(lambda: len(self.taken) >= count, f"{count} messages, there are {len(self.taken)}", patience_s)
        return self.taken

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextmanager
def next_hop(behaviour: Behaviour | None = None, port: int | None = None) -> Iterator[NextHop]:
    """A listening next hop; it ends with the block."""
    loop = asyncio.new_event_loop()
    server = ScriptedSmtp(behaviour, port)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
    try:
        yield NextHop(server, loop)
    finally:
        asyncio.run_coroutine_threadsafe(server.__aexit__(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
