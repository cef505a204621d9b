"""What a running gateway takes of the machine, and what it has left lying about: compared before and after a storm."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .gateway import Gateway
from .waiting import wait_until

SPARE_FILES = 12
"""Connections to the next hop and readers of databases come and go."""
SPARE_MEMORY = 48 << 20
"""Caches of databases fill up to a limit; a leak grows with every storm."""


@dataclass(frozen=True)
class Footprint:
    """At one moment."""

    memory: int
    files: int
    leftovers: tuple[str, ...]
    """Files of messages that are being received, or were."""

    def within(self, base: Footprint) -> bool:
        """Whether this is no more than the base, apart from what comes and goes."""
        return (
            self.memory <= base.memory + SPARE_MEMORY and self.files <= base.files + SPARE_FILES and not self.leftovers
        )


def footprint(gateway: Gateway) -> Footprint:
    """Of the gateway as it runs now."""
    process = Path(f"/proc/{gateway.pid}")
    [resident] = [line for line in (process / "status").read_text().splitlines() if line.startswith("VmRSS:")]
    leftovers = tuple(path.name for path in (gateway.data / "bodies" / "incoming").glob("m-*"))
    return Footprint(int(resident.split()[1]) << 10, len(list((process / "fd").iterdir())), leftovers)


def assert_back_to(base: Footprint, gateway: Gateway) -> None:
    """Waits until the gateway takes no more than at the base."""
    wait_until(
        lambda: footprint(gateway).within(base), f"the footprint to be that of before: {base}", 20,
        lambda: f"{footprint(gateway)}\n{gateway.log()}",
    )  # fmt: skip
