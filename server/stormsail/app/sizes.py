"""The SIZE that our doors announce: the smaller of our limit and what each primary announced last (DESIGN §3.9)."""

from __future__ import annotations

import asyncio

import structlog

from stormsail.domain.errors import StormsailError
from stormsail.ledger import Ledger

FACT = "size"
ROOM_FOR_TRACE = 4096
"""Octets left for the fields that we put on top."""
log = structlog.get_logger()


class AnnouncedSizes:
    """Remembers each primary's SIZE over restarts."""

    def __init__(self, ledger: Ledger, limit: int, facts: dict[tuple[str, str], str]) -> None:
        self._ledger = ledger
        self.limit = limit
        self._sizes = {name: int(value) for (name, fact), value in facts.items() if fact == FACT and value.isdigit()}
        self._written = dict(self._sizes)
        """What the ledger has, or is being given."""
        self._writing: set[asyncio.Task[None]] = set()

    def message_size(self) -> int:
        """Octets of the largest message that is taken."""
        sizes = [max(1, size - ROOM_FOR_TRACE) for size in self._sizes.values() if size > 0]
        return min([self.limit, *sizes])

    def note(self, primary: str, size: int | None) -> None:
        """A primary said in its reply to EHLO how much it takes; 0 or nothing means that it names no limit."""
        value = self._sizes[primary] = size or 0
        if self._written.get(primary) == value:
            return
        self._written[primary] = value
        task = asyncio.get_running_loop().create_task(self._write(primary, value))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, primary: str, value: int) -> None:
        """Where the ledger refuses, the size holds in this life, and the next EHLO writes it again."""
        try:
            await self._ledger.remember(primary, FACT, str(value))
        except StormsailError as error:
            log.warning("size_not_written", primary=primary, size=value, why=error.sentence)
            if self._written.get(primary) == value:
                del self._written[primary]
