"""The status on the live stream: published when something in it has changed, while somebody looks.

In: the parts. Out: `status` items. A failure to gather it is logged, and the next turn tries again.
"""

from __future__ import annotations

import asyncio

import structlog
from msgspec.structs import replace

from stormsail.domain.errors import StormsailError
from stormsail.domain.roles import Role
from stormsail.wire import Status

from .parts import ApiParts
from .status import make_status
from .stream_hub import Audience

log = structlog.get_logger("stormsail.http")

EVERY_S = 2.0


class StatusFeed:
    """Runs between `start` and `stop`."""

    def __init__(self, parts: ApiParts) -> None:
        self._parts = parts
        self._last: Status | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            if self._parts.hub.readers:
                try:
                    self.offer(await make_status(self._parts))
                except StormsailError as error:
                    log.warning("the status could not be gathered", why=error.sentence)

    def offer(self, status: Status) -> None:
        """Publishes the status if more than the time has changed."""
        if self._last is None or _without_time(status) != _without_time(self._last):
            self._last = status
            self._parts.hub.publish("status", status, Audience(Role.VIEWER))


def _without_time(status: Status) -> Status:
    """What is compared: ages grow by themselves."""
    queue = replace(status.queue, oldest_age_s=None)
    return replace(status, at="", uptime_s=0, queue=queue, directory=replace(status.directory, age_s=None))
