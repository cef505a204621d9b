"""What has to be done again and again: the sign of life, the ledger's log, retention, old rows.

Each runs by itself at its own pace; a failure is logged and the next turn tries again.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from stormsail.domain.errors import StormsailError
from stormsail.ledger import checkpoint
from stormsail.ledger.prune import prune
from stormsail.store.ownership import BEAT_S

if TYPE_CHECKING:
    from .gateway import Gateway

CHECKPOINT_S = 2.0
RETENTION_S = 3600.0
PRUNE_S = 600.0
JITTER = 0.1
log = structlog.get_logger()


class Upkeep:
    """Runs until stopped. While `clock_jumped`, retention waits for a person to set the clock right (DESIGN §3.16)."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._tasks: list[asyncio.Task[None]] = []
        self.clock_jumped = bool(gateway.clock.doubted_by_ms)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._repeat(BEAT_S, self._beat)),
            loop.create_task(self._repeat(CHECKPOINT_S, self._checkpoint)),
            loop.create_task(self._repeat(RETENTION_S, self._retain)),
            loop.create_task(self._repeat(PRUNE_S, self._prune)),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await work()
            except (StormsailError, OSError, sqlite3.Error) as error:
                log.warning("upkeep_failed", work=work.__name__, why=str(error))
            except Exception:
                log.exception("upkeep_failed", work=work.__name__)
            await asyncio.sleep(every_s * (1 - JITTER + 2 * JITTER * random.random()))

    async def _beat(self) -> None:
        """Says that we live; after a long silence asks first whether the data is still ours."""
        if self._gateway.ownership.stalled:
            await self._gateway.ledger.verify_ownership()
        self._gateway.ownership.beat()
        self._watch_clock()

    def _watch_clock(self) -> None:
        clock = self._gateway.clock
        jumped = clock.doubted_by_ms
        if bool(jumped) != self.clock_jumped:
            log.error("clock_jumped", by_s=jumped // 1000)
        self.clock_jumped = bool(jumped)
        clock.save()

    async def _checkpoint(self) -> None:
        await asyncio.to_thread(checkpoint, self._gateway.ledger.path)

    async def _retain(self) -> None:
        """Removes at most one day beyond retention; never after the clock has jumped."""
        if self.clock_jumped:
            return
        day = await self._gateway.mailstore.run_retention(self._gateway.settings.retention.days)
        if day is not None:
            log.info("day_removed", day=day)

    async def _prune(self) -> None:
        if not self.clock_jumped:
            await prune(self._gateway.ledger, self._gateway.clock)
            self._gateway.forget_old_repeats()
