"""Prometheus: how many deliveries are in each state, how the gateway does, how many requests there were.

In: the parts, at each scrape. Out: the text of `/metrics`. The registry is our own: nothing global is shown.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import asdict
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from stormsail.domain.states import DeliveryState
from stormsail.wire import Status

CONTENT_TYPE = "text/plain; version=0.0.4"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The gauges and counters of one gateway."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = self._counter("http_requests", "Requests answered", ["method", "path", "status"])
        self._deliveries = self._gauge("deliveries", "Deliveries by state, open and final", ["state"])
        self._oldest = self._gauge("oldest_open_seconds", "Age of the oldest message with an open delivery")
        self._events = self._gauge("events", "Continuity events that are not closed", ["state"])
        self._directory = self._gauge("directory_mailboxes", "Mailboxes known to the directory")
        self._directory_age = self._gauge("directory_age_seconds", "Age of the directory; -1: never imported")
        self._health = self._gauge("own_health", "1: well", ["name"])
        self._uptime = self._gauge("uptime_seconds", "Since the gateway started")
        self._streams = self._gauge("stream_readers", "Open live streams")

    def count_request(self, method: str, path: str, status: int) -> None:
        """One request was answered; `path` is the route's template."""
        self._requests.labels(method if method in METHODS else "other", path, str(status)).inc()

    def page(self, status: Status, readers: int) -> bytes:
        """The text for the scraper, as of this status."""
        for state, number in {**asdict(status.queue), **asdict(status.totals)}.items():
            if state in list(DeliveryState):
                self._deliveries.labels(state).set(number)
        self._oldest.set(status.queue.oldest_age_s or 0)
        for state in ("active", "draining"):
            self._events.labels(state).set(sum(event.state == state for event in status.events))
        self._directory.set(status.directory.mailboxes)
        age_s = status.directory.age_s
        self._directory_age.set(-1 if age_s is None else age_s)
        for item in status.own_health:
            self._health.labels(item.name).set(item.ok)
        self._uptime.set(status.uptime_s)
        self._streams.set(readers)
        return generate_latest(self._registry)

    def _gauge(self, name: str, text: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(f"stormsail_{name}", text, labels, registry=self._registry)

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"stormsail_{name}", text, labels, registry=self._registry)
