"""What `make soak` watches of a gateway, what may grow of it by how much, and how that is told.

In: a running gateway. Out: samples in order; a verdict for each figure by the medians of a window near the start and
of one at the end, both of them under load and without an event; a line of little bars for each.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.processes import children_of, descriptors, rss_mib, threads
from testkit.gateway import Gateway

BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 60
MIB = 1 << 20
BASE = (0.15, 0.3)
"""The window that the end is held against, as parts of the run: what is filled once is filled by then."""
END = (0.85, 1.0)


class Sample(msgspec.Struct, frozen=True):
    """Figures of one moment. `waiting` counts open deliveries, `preparing` messages that cannot be read yet."""

    at_s: float
    rss_mib: float
    children_mib: float
    descriptors: int
    threads: int
    incoming: int
    ledger_wal_mib: float
    mail_wal_mib: float
    search_wal_mib: float
    waiting: int
    preparing: int


class Margin(msgspec.Struct, frozen=True):
    """A figure may grow to `times` its base and `more` of its unit above that."""

    field: str
    words: str
    times: float
    more: float


MARGINS = (
    Margin("rss_mib", "memory of the gateway, MiB", 1.15, 32),
    Margin("children_mib", "memory of its children, MiB", 1.15, 64),
    Margin("descriptors", "descriptors", 1.1, 40),
    Margin("threads", "threads", 1.0, 8),
    Margin("incoming", "files in bodies/incoming", 1.0, 8),
    Margin("ledger_wal_mib", "log of ledger.db, MiB", 1.5, 64),
    Margin("mail_wal_mib", "log of mail.db, MiB", 1.5, 32),
    Margin("search_wal_mib", "logs of search databases, MiB", 1.5, 32),
    Margin("waiting", "open deliveries", 1.5, 500),
    Margin("preparing", "messages being prepared", 1.5, 2_000),
)


def take_sample(gateway: Gateway, at_s: float) -> Sample:
    """What it takes now."""
    pid, status = gateway.pid, gateway.status()
    [copies] = [one for one in status["own_health"] if one["name"] == "copies"]
    words = str(copies["detail"]).split()
    return Sample(
        at_s=at_s,
        rss_mib=rss_mib(pid),
        children_mib=sum(rss_mib(child) for child in children_of(pid)),
        descriptors=descriptors(pid),
        threads=threads(pid),
        incoming=sum(1 for _ in (gateway.data / "bodies" / "incoming").iterdir()),
        ledger_wal_mib=_mib(gateway.data, "ledger.db-wal"),
        mail_wal_mib=_mib(gateway.data, "mail.db-wal"),
        search_wal_mib=_mib(gateway.data, "search-*.db-wal"),
        waiting=sum(number for state, number in status["queue"].items() if state != "oldest_age_s"),
        preparing=int(words[0]) + int(words[4]),
    )


def _mib(folder: Path, pattern: str) -> float:
    """Of all files of that name; one may go while we look."""
    sizes = []
    for path in folder.glob(pattern):
        try:
            sizes.append(path.stat().st_size)
        except FileNotFoundError:
            continue
    return sum(sizes) / MIB


class Judged(msgspec.Struct, frozen=True):
    """A figure at both ends, and whether it stayed within its margin."""

    margin: Margin
    base: float
    end: float
    values: list[float]

    @property
    def limit(self) -> float:
        return self.base * self.margin.times + self.margin.more

    @property
    def held(self) -> bool:
        return self.end <= self.limit

    def as_row(self) -> str:
        word = "" if self.held else "  GREW"
        ends = f"{self.base:>9.1f} {self.end:>9.1f}  up to {self.limit:<8.1f}"
        return f"{self.margin.words:<30} {ends} {plot(self.values)}{word}"


def judge(samples: Sequence[Sample]) -> list[Judged]:
    """Every figure of `MARGINS`. Raises ValueError where a window holds no sample."""
    length = samples[-1].at_s
    base, end = (_window(samples, length, window) for window in (BASE, END))
    judged = []
    for margin in MARGINS:
        values = [float(getattr(sample, margin.field)) for sample in samples]
        medians = [statistics.median(float(getattr(one, margin.field)) for one in part) for part in (base, end)]
        judged.append(Judged(margin, medians[0], medians[1], values))
    return judged


def _window(samples: Sequence[Sample], length: float, window: tuple[float, float]) -> list[Sample]:
    found = [sample for sample in samples if window[0] * length <= sample.at_s <= window[1] * length]
    if not found:
        raise ValueError("the run is too short for its samples")
    return found


def plot(values: Sequence[float]) -> str:
    """The values as little bars, each the greatest of its part of the run; the scale begins at nothing."""
    columns = min(COLUMNS, len(values))
    top = max(values)
    bars = ""
    for column in range(columns):
        part = values[column * len(values) // columns : (column + 1) * len(values) // columns]
        bars += BARS[int(max(part) / top * (len(BARS) - 1))] if top else BARS[0]
    return bars
