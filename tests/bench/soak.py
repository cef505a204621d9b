"""`make soak`: half an hour of mail, readers and events at a third of the top rate; fails where something leaks.

The pace is a third of the accepts a second that the gateway reaches in a short burst, and no more than most of what it
can make readable a second, so that the copies keep up; `--rate` sets it. Everything is relayed to a sink but for the
time of two events. At the end everything must be with the primary and the ledger has to add up.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.letters import word
from bench.loader import RECIPIENT, address, directory_csv
from bench.soak_samples import Sample, judge, take_sample
from bench.source import letters_to, run
from bench.stores import reader_of, wait_until_idle
from stormsail.domain.states import OPEN
from testkit.gateway import Gateway, running_gateway
from testkit.sink import running_sink
from testkit.waiting import wait_until

MAILBOXES = 20_000
DRAIN = "drain = { messages_per_mailbox_hour = 0 }"
OCTETS, LARGE_OCTETS = 4096, 1 << 20
WARM_UP, SESSIONS = 3_000, 50
READERS, READ_EVERY_S = 3, 0.5
SAMPLES = 180
PART_S = 10.0
"""For so long one run of smtp-source sends, over connections of its own."""
EVENTS = ((0.35, 0.45), (0.6, 0.7))
"""When an event is on, as parts of the run: outside of both windows that are compared."""
PATIENCE_S = 600
MOST_SESSIONS = 400


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--minutes", type=float, default=30)
    words.add_argument("--rate", type=float, help="messages a second; by itself a third of the top rate")
    chosen = words.parse_args()
    with _gateway() as gateway:
        rate = chosen.rate or _find_pace(gateway)
        print(f"{chosen.minutes:g} minutes at {rate:.0f} messages/s", flush=True)
        run = Soak(gateway, rate, chosen.minutes * 60)
        samples = run.run()
        faults = [*run.faults, *_settle(gateway, run.sent)]
    rows = judge(samples)
    print(f"{'':<30} {'base':>9} {'end':>9}")
    print("\n".join(row.as_row() for row in rows))
    print("\n".join([f"{run.sent:,} messages sent, {run.reads:,} pages read", *faults]))
    return 1 if faults or not all(row.held for row in rows) else 0


@contextmanager
def _gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        gateway = stack.enter_context(running_gateway(primary=sink, outside=sink, started=False))
        (gateway.folder / "mailboxes.csv").write_text(directory_csv(MAILBOXES))
        gateway.configure(primary=sink, outside=sink, primary_more=DRAIN)
        gateway.start()
        yield gateway


def _find_pace(gateway: Gateway) -> float:
    """Messages a second; prints what it follows from."""
    began = time.perf_counter()
    accepts = WARM_UP / run(_command(gateway, 0, OCTETS, WARM_UP, SESSIONS))
    wait_until_idle(gateway)
    readable = WARM_UP / (time.perf_counter() - began)
    print(f"top rate: {accepts:.0f} accepts/s, {readable:.0f} made readable/s", flush=True)
    return max(1.0, min(accepts / 3, readable * 0.6))


def _command(gateway: Gateway, part: int, octets: int, messages: int, sessions: int, pace: bool = False) -> list[str]:
    folder = gateway.folder
    return letters_to(
        gateway.mx, folder, part, octets=octets, messages=messages, sessions=sessions, recipient=RECIPIENT, pace=pace
    )


class Soak:
    """One run. `faults` are sentences about what went wrong on the way."""

    def __init__(self, gateway: Gateway, rate: float, seconds: float) -> None:
        self.sent = WARM_UP if gateway.status()["totals"]["accepted"] else 0
        self.reads = 0
        self.faults: list[str] = []
        self._gateway = gateway
        self._rate = rate
        self._seconds = seconds
        self._part_s = min(PART_S, seconds / 6)
        self._over = threading.Event()

    def run(self) -> list[Sample]:
        """Load, readers and events until the time is over; samples all the while."""
        work = [self._load, self._switch_events, *[self._read] * READERS]
        threads = [threading.Thread(target=self._guarded, args=(one, number)) for number, one in enumerate(work)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        samples: list[Sample] = []
        while (at := time.monotonic() - began) < self._seconds and not self.faults:
            samples.append(take_sample(self._gateway, at))
            self._over.wait(max(0.5, self._seconds / SAMPLES))
        self._over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
        return samples

    def _guarded(self, work: Any, number: int) -> None:
        try:
            work(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run has failed and says so
            self.faults.append(f"{work.__name__}: {error}")

    def _load(self, _number: int) -> None:
        """Parts of some seconds: sessions that send a message a second, and one large message."""
        sessions, messages = (
            min(MOST_SESSIONS, max(1, int(self._rate))),
            min(MAILBOXES - 1, max(1, int(self._rate * self._part_s))),
        )
        for part in itertools.count(1):
            if self._over.is_set():
                return
            paced = _command(self._gateway, part, OCTETS, messages, sessions, self._rate <= MOST_SESSIONS)
            took = run(paced, _command(self._gateway, part, LARGE_OCTETS, 1, 1))
            self.sent += messages + 1
            self._over.wait(max(0.0, self._part_s - took))

    def _switch_events(self, _number: int) -> None:
        began = time.monotonic()
        for start, end in EVENTS:
            if self._over.wait(max(0.0, began + start * self._seconds - time.monotonic())):
                return
            event = self._gateway.api("POST", "/events", json={"scope": "all", "reason": "soaking"})
            self._over.wait(max(0.0, began + end * self._seconds - time.monotonic()))
            self._gateway.api("POST", f"/events/{event['id']}/end")

    def _read(self, number: int) -> None:
        """Somebody who lists, searches and reads."""
        with reader_of(self._gateway, number) as client:
            path = f"/mailboxes/{address(number)}/messages"
            while not self._over.wait(READ_EVERY_S):
                for query in ({}, {"q": word(self.reads % 50)}):
                    page = client.get(path, params=query)
                    page.raise_for_status()
                    self.reads += 1
                for shown in page.json()["messages"][:1]:
                    client.get(f"/messages/{shown['id']}").raise_for_status()


def _settle(gateway: Gateway, sent: int) -> list[str]:
    """Waits until all is handed over and readable; what is wrong then, a sentence each."""
    try:
        wait_until_idle(gateway, PATIENCE_S)
        wait_until(lambda: not any(map(gateway.totals().get, OPEN)), "the queue to empty", PATIENCE_S)
        gateway.assert_sound()
    except AssertionError as error:
        return [f"{error}", f"sent {sent}, and there are {gateway.totals()}"]
    there = gateway.totals()
    return [] if there == {"relayed": sent} else [f"sent {sent}, and there are {there}"]


if __name__ == "__main__":
    sys.exit(main())
