"""What the gateway says of itself: its own health, whether it is ready, what wants a person's eye.

Everything is computed from facts when it is asked for; nothing here changes state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stormsail.clock import MS_PER_DAY, to_rfc3339
from stormsail.domain.ids import id_to_text
from stormsail.store import free_bytes
from stormsail.wire import Alert, OwnHealth

if TYPE_CHECKING:
    from .gateway import Gateway

DIRECTORY_OLD_MS = 7 * MS_PER_DAY
LAG_LIMIT_S = 60
MS_PER_HOUR = 3_600_000
RELAPSED = (
    "Event {id} is active again by itself: the primary failed while mail was being handed back."
    " When it is well, end the event once more"
)
CLOCK_JUMPED = (
    "The machine's clock is {hours} hours off from where it should be. The gateway goes on by its own time, and"
    " retention is stopped. Set the clock right; if it is the gateway that is wrong, stop it, remove owner.clock from"
    " its data and start it again"
)


class Facts:
    """Asks the parts of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def own_health(self) -> list[OwnHealth]:
        """One line for each thing that can go wrong with ourselves."""
        return [self._disk(), self._store(), await self._copies(), self._clock(), self._lanes()]

    def not_ready(self) -> list[str]:
        """Why no mail can be taken now."""
        return [f"{one.name}: {one.detail}" for one in (self._disk(), self._store()) if not one.ok]

    def alerts(self) -> list[Alert]:
        """What an operator should look at, in words."""
        found: list[tuple[str, str]] = []
        for status in self._gateway.queue.lanes():
            if status.breaker == "open":
                found.append((f"lane:{status.name}", f"{status.name} does not take mail: {status.last_failure}"))
        for name in self._gateway.queue.wayless():
            found.append((f"lane:{name}", f"Mail waits for {name}, which the configuration does not have (any more)"))
        for event_id in self._gateway.continuity.relapsed:
            found.append((f"event:{id_to_text(event_id)}", RELAPSED.format(id=id_to_text(event_id))))
        for event_id, why in self._gateway.continuity.waiting.items():
            found.append((f"drain:{id_to_text(event_id)}", f"Event {id_to_text(event_id)} cannot hand back now: {why}"))
        loaded_at = self._gateway.directory.snapshot.loaded_at
        now = self._gateway.clock.now_ms()
        if loaded_at is not None and now - loaded_at > DIRECTORY_OLD_MS:
            found.append(("directory", f"The directory is {(now - loaded_at) // MS_PER_DAY} days old"))
        if self._gateway.upkeep.clock_jumped:
            found.append(("clock", CLOCK_JUMPED.format(hours=self._gateway.clock.doubted_by_ms // MS_PER_HOUR)))
        at = to_rfc3339(now)
        return [Alert(id=name, at=at, severity="ticket", statement=words) for name, words in found]

    def _disk(self) -> OwnHealth:
        free = free_bytes(self._gateway.data_dir)
        ok = free > self._gateway.settings.limits.disk_reserve
        return OwnHealth(name="disk", ok=ok, detail=f"{free >> 20} MiB free")

    def _store(self) -> OwnHealth:
        writer = self._gateway.ledger.writer
        return OwnHealth(name="store", ok=writer.healthy, detail=writer.trouble or "commits succeed")

    async def _copies(self) -> OwnHealth:
        lag = await self._gateway.mailstore.lag()
        age = lag.oldest_age_ms // 1000
        words = f"{lag.unfiled} messages to file, {lag.undigested} to prepare, the oldest for {age} s"
        return OwnHealth(name="copies", ok=age < LAG_LIMIT_S, detail=words)

    def _clock(self) -> OwnHealth:
        jumped = self._gateway.upkeep.clock_jumped
        return OwnHealth(name="clock", ok=not jumped, detail="has jumped" if jumped else "steady")

    def _lanes(self) -> OwnHealth:
        lanes = self._gateway.queue.lanes()
        words = [f"waiting for {one.name}" for one in lanes if one.breaker == "open"]
        failing = [one for one in lanes if one.breaker == "closed" and one.last_failure]
        words += [f"{one.name} failed last: {one.last_failure}" for one in failing]
        detail = "; ".join(words) or "no next hop is failing"
        return OwnHealth(name="delivery", ok=True, detail=detail)
