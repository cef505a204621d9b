"""Wrong passwords slow down the one who tries them, and nobody else.

In: an address and the peer that tries a password for it. Out: the right to try, one at a time. The count is per
(address, peer), so that a stranger cannot lock the real person out from elsewhere. Fails with TooManyTries.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from stormsail.clock import Clock
from stormsail.domain.errors import NotSignedIn, TooManyTries

FREE_TRIES = 5
FIRST_WAIT_S = 30.0
MOST_WAIT_S = 900.0
FORGOTTEN_S = 3600.0
KEPT_PAIRS = 20_000
LINE_LIMIT = 20


@dataclass
class _Pair:
    wrong: int = 0
    until: float = 0.0
    last: float = 0.0
    line: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Throttle:
    """Counts wrong passwords in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pairs: OrderedDict[tuple[str, str], _Pair] = OrderedDict()

    @asynccontextmanager
    async def turn(self, address: str, peer: str) -> AsyncIterator[None]:
        """One try of a password; NotSignedIn raised inside counts as a wrong one. Raises TooManyTries."""
        pair = self._pair((address, peer_network(peer)))
        if pair.line >= LINE_LIMIT:
            raise TooManyTries("Too many tries at once for this address", 1)
        pair.line += 1
        try:
            async with pair.turn:
                self._check(pair)
                try:
                    yield
                except NotSignedIn:
                    self._count(pair)
                    raise
                pair.wrong, pair.until = 0, 0.0
        finally:
            pair.line -= 1

    def _check(self, pair: _Pair) -> None:
        now = self._clock.monotonic()
        if now - pair.last > FORGOTTEN_S:
            pair.wrong = 0
        if now < pair.until:
            wait_s = int(pair.until - now) + 1
            raise TooManyTries(f"Too many wrong passwords, please try again in {wait_s} seconds", wait_s)

    def _count(self, pair: _Pair) -> None:
        pair.wrong += 1
        pair.last = self._clock.monotonic()
        if pair.wrong >= FREE_TRIES:
            pair.until = pair.last + min(MOST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(pair.wrong - FREE_TRIES, 10))

    def _pair(self, key: tuple[str, str]) -> _Pair:
        pair = self._pairs.pop(key, None) or _Pair()
        self._pairs[key] = pair
        if len(self._pairs) > KEPT_PAIRS:
            self._pairs.popitem(last=False)
        return pair


def peer_network(peer: str) -> str:
    """What counts as one peer: an IPv4 address, an IPv6 /64; other names as they are."""
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
