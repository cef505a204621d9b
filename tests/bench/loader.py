"""Fills the data directory of a gateway that is not running, as if mail had come in for weeks: plain SQL, few commits.

In: a plan: how many copies, mailboxes, open deliveries, days. Out: `ledger.db`, `mail.db`, the search databases and
body files by the real migrations, such as a gateway starts on; `ledger check` finds nothing. All messages of a day
share one body, which is what makes 6,000,000 copies a matter of minutes; their texts in the index differ. What is
written is not synced before the end: after a crash load again.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.letters import message
from stormsail.clock import MS_PER_DAY, to_day
from stormsail.domain.ids import first_id_at
from stormsail.store import BodyRef, Place, Record, migrate, pack

DOMAIN = "example.com"
LANE = "primary:exchange"
SEGMENTS = 20
WORKERS = os.cpu_count() or 1


class Plan(msgspec.Struct, frozen=True):
    """What is to be loaded. Mailbox 0 is the largest; the copies of the others are spread evenly over them."""

    copies: int
    mailboxes: int = 20_000
    fan_out: int = 1
    """Copies, and so deliveries, of each message."""
    open_deliveries: int = 0
    """The newest so many deliveries are in `open_state`, the others were relayed."""
    open_state: str = "queued"
    days: int = 30
    in_largest: int = 100_000
    """Copies in mailbox 0, if there are so many messages."""
    until_ms: int = 0
    """When the last message came; 0: a minute ago."""

    @property
    def messages(self) -> int:
        return self.copies // self.fan_out

    @property
    def every(self) -> int:
        """Of so many messages one has a copy in mailbox 0."""
        return max(1, self.messages // self.in_largest)


class Times(msgspec.Struct, frozen=True):
    """Message n comes at `first + n * step` milliseconds since the epoch; its number follows from its time."""

    first: int
    step: int

    def at(self, number: int) -> int:
        return self.first + number * self.step

    def days(self, messages: int) -> list[str]:
        """The days that have mail, the oldest first."""
        starts = range(self.first // MS_PER_DAY, self.at(messages - 1) // MS_PER_DAY + 1)
        return [to_day(day * MS_PER_DAY) for day in starts]

    def numbers_of(self, day: int, messages: int) -> range:
        """The numbers of the messages of the `day`-th day, counted from the first one with mail."""
        start = (self.first // MS_PER_DAY + day) * MS_PER_DAY
        numbers = [max(0, -((self.first - at) // self.step)) for at in (start, start + MS_PER_DAY)]
        return range(min(numbers[0], messages), min(numbers[1], messages))


def address(mailbox: int) -> str:
    """The address of a mailbox by its number; `smtp-source -N` with `RECIPIENT` writes to them in turn."""
    return f"{mailbox}{RECIPIENT}"


RECIPIENT = f"u@{DOMAIN}"


def directory_csv(mailboxes: int) -> str:
    """The directory as its CSV form, with some segments."""
    rows = (f"{address(number)},User {number},s{number % SEGMENTS},mailbox,," for number in range(mailboxes))
    return "\n".join(["address,name,segment,kind,aliases,members", *rows, ""])


def load(data_dir: Path, plan: Plan) -> float:
    """Fills `data_dir`, which must not have databases yet; gives the seconds it took."""
    from bench.loader_copies import load_copies, load_search
    from bench.loader_ledger import load_ledger

    began = time.perf_counter()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    times = _times(plan)
    bodies = _write_bodies(data_dir / "bodies", times, plan)
    with ProcessPoolExecutor(WORKERS) as pool:
        running = [pool.submit(load_ledger, data_dir, plan, times, bodies)]
        running += [pool.submit(load_copies, data_dir, plan, times, bodies)]
        running += [pool.submit(load_search, data_dir, plan, times, day) for day in range(len(bodies))]
        for one in running:
            one.result()
    return time.perf_counter() - began


def _times(plan: Plan) -> Times:
    """Spread evenly over the days, each message in a millisecond of its own."""
    until = plan.until_ms or int(time.time() * 1000) - 60_000
    step = max(1, plan.days * MS_PER_DAY // max(1, plan.messages))
    return Times(until - (plan.messages - 1) * step, step)


def _write_bodies(root: Path, times: Times, plan: Plan) -> list[BodyRef]:
    """One body for all messages of a day, in a segment of its own; in the order of the days."""
    refs = []
    for number, day in enumerate(times.days(plan.messages)):
        folder = root / day
        folder.mkdir(mode=0o700, parents=True)
        content = message(number, address(0), 4096)
        packed = pack([Record(first_id_at(times.first), b"", content)])
        [written] = packed.at(Place(day, f"s-{number:016x}", 0))
        (folder / written.file).write_bytes(packed.data)
        refs.append(written.ref)
    return refs


@contextmanager
def filling(path: Path, migrations: Path, *, indices: bool = True) -> Iterator[sqlite3.Connection]:
    """A new database in one transaction without a journal; with `indices` its indices are made at the end."""
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=64)
    try:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA cache_size=-262144")
        migrate(connection, migrations)
        later = _drop_indices(connection) if indices else []
        connection.execute("BEGIN")
        yield connection
        for statement in later:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _drop_indices(connection: sqlite3.Connection) -> list[str]:
    """Gives the statements that make them again."""
    found = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in found:
        connection.execute(f"DROP INDEX {name}")
    return [sql for _, sql in found]
