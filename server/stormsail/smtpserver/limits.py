"""What all sessions share: places for connections, and memory for messages that are coming in."""

from __future__ import annotations

from collections import Counter


class DataMemory:
    """Octets of message text that all sessions together may hold in memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0

    def take(self, octets: int) -> bool:
        """Takes room for so many octets; False where there is none."""
        if self.used + octets > self.limit:
            return False
        self.used += octets
        return True

    def give_back(self, octets: int) -> None:
        self.used -= octets


class Admission:
    """Counts connections, of all peers and of each address."""

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._open: Counter[str] = Counter()

    @property
    def open(self) -> int:
        return self._open.total()

    def enter(self, address: str) -> str | None:
        """Takes a place; gives the reason where there is none."""
        if self._open.total() >= self.total:
            return "Too many connections, please try again later"
        if self._open[address] >= self.per_address:
            return "Too many connections from your address, please try again later"
        self._open[address] += 1
        return None

    def leave(self, address: str) -> None:
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]
