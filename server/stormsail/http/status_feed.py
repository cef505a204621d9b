"""The status on the live stream: published when something in it has changed, while somebody looks.

In: the parts. Out: `status` items. A failure to gather it is logged, and the next turn tries again.
"""

from __future__ import annotations

import asyncio
import sqlite3

import structlog
from msgspec.structs import replace

from stormsail.domain.errors import StormsailError
from stormsail.domain.roles import Role
from stormsail.wire import Status

from .parts import ApiParts
from .status import make_status
from .stream_hub import Audience

log = structlog.get_logger()

EVERY_S = 2.0


class StatusFeed:
    """Runs while the hub has readers."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._last: Status | None = None
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Somebody has begun to look."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="stormsail-status-feed")

    async def _run(self) -> None:
        hub = self._parts.hub
        while not await hub.closed_within(EVERY_S) and hub.readers:
            try:
                self.offer(await make_status(self._parts))
            except (StormsailError, sqlite3.Error) as error:
                log.warning("status_not_gathered", why=str(error))

    def offer(self, status: Status) -> None:
        """Publishes the status if more than the time has changed."""
        if self._last is None or _without_time(status) != _without_time(self._last):
            self._last = status
            self._parts.hub.publish("status", status, Audience(Role.VIEWER))


def _without_time(status: Status) -> Status:
    """What is compared: ages grow by themselves."""
    queue = replace(status.queue, oldest_age_s=None)
    return replace(status, at="", uptime_s=0, queue=queue, directory=replace(status.directory, age_s=None))
