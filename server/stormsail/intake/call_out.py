"""Asking the primary whether it has a recipient that the directory lacks (DESIGN §3.7).

In: a domain's rule and an address. Out: True, False for a clear 5.1.x, None for everything else. Paced, 5 s at most;
during an event or while the primary is not well nothing is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from stormsail.config import PrimarySettings
from stormsail.directory import DomainRule
from stormsail.domain.address import Address
from stormsail.smtpclient import ConnectFailed, NextHop, hops_of_primary, open_connection, verify_recipient
from stormsail.smtpclient.transaction import Timeouts

LIMIT_S = 5.0
AT_ONCE = 4


class CallOut:
    """Asks one question a connection, a few at a time. `well` says whether the primary's answer can be believed."""

    def __init__(
        self,
        primaries: Callable[[], list[PrimarySettings]],
        base: Path,
        hostname: str,
        well: Callable[[DomainRule], bool],
    ) -> None:
        self._primaries = primaries
        self._base = base
        self._hostname = hostname
        self._well = well
        self._places: dict[str, asyncio.Semaphore] = {}
        """By primary: a silent one must not keep the others from being asked."""

    async def __call__(self, rule: DomainRule, address: Address) -> bool | None:
        if not self._well(rule):
            return None
        places = self._places.setdefault(rule.primary, asyncio.Semaphore(AT_ONCE))
        try:
            async with asyncio.timeout(LIMIT_S), places:
                return await self._ask(rule, address)
        except TimeoutError:
            return None

    async def _ask(self, rule: DomainRule, address: Address) -> bool | None:
        for hop in self._hops(rule):
            try:
                connection = await open_connection(hop, self._hostname, LIMIT_S)
            except ConnectFailed:
                continue
            try:
                result = await verify_recipient(connection, str(address), Timeouts(LIMIT_S, LIMIT_S))
                await connection.quit()
            finally:
                connection.close("The question is over")
            if result.reply.positive:
                return True
            if result.reply.permanent and result.reply.enhanced.startswith("5.1.") and self._well(rule):
                return False
            return None
        return None

    def _hops(self, rule: DomainRule) -> list[NextHop]:
        found = (primary for primary in self._primaries() if primary.name == rule.primary)
        return [hop for primary in found for hop in hops_of_primary(primary, self._base)]
