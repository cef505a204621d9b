"""One lane: everything to the same next hop, with its connections, circuit breaker and work in hand (DESIGN §5).

In: attempts whose deliveries are ACTIVE in the ledger. Out: results handed to `settle`. A worker is one lasting
connection; there are as many as the policy and the breaker allow. New mail goes before a drain's, but an open breaker
tries the drain's first: what fails of it ends the drain, and new mail is held again too. A trial asked for by a person
waits for no breaker.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import structlog

from stormsail.domain.breaker import Breaker
from stormsail.domain.errors import StormsailError
from stormsail.domain.replies import ReplyClass, Stage
from stormsail.domain.reply import Reply, escape
from stormsail.smtpclient import Connection

from .attempt import Attempt, LegResult
from .hops import LanePolicy
from .runner import Runner

BACKLOG_MESSAGES = 500
BACKLOG_OCTETS = 33_554_432
IDLE_S = 5.0
TRANSACTIONS_PER_CONNECTION = 500
log = structlog.get_logger()


class LaneStatus(msgspec.Struct, frozen=True):
    """A lane as operators see it."""

    name: str
    running: int
    backlog: int
    breaker: str
    open_until: int | None
    last_failure: str


@dataclass(frozen=True)
class LaneParts:
    """What lanes share. `settle` writes down results; `changed` asks the schedule to look at the lane again."""

    runner: Runner
    settle: Callable[[Attempt, list[LegResult], str, int], None]
    changed: Callable[[str], None]
    now_ms: Callable[[], int]
    chance: Callable[[], float]


class Lane:
    """Runs attempts to one next hop."""

    def __init__(self, name: str, policy: LanePolicy, parts: LaneParts) -> None:
        self.name = name
        self.policy = policy
        self._parts = parts
        self._fresh: deque[Attempt] = deque()
        self._drains: deque[Attempt] = deque()
        self._trials: deque[Attempt] = deque()
        self._octets = 0
        self._workers: set[asyncio.Task[None]] = set()
        self._idle: deque[asyncio.Future[None]] = deque()
        self._running = 0
        self._draining = 0
        self._breaker = Breaker()
        self._last_failure = ""
        self._closing = False

    # ── what others ask ──

    def takes_fresh(self, size: int) -> bool:
        """Whether a message just coming in may be tried at once instead of waiting in the ledger."""
        return (
            not self._closing
            and self._breaker.closed
            and self.policy.connections > 0
            and len(self._fresh) < BACKLOG_MESSAGES
            and self._octets + size < BACKLOG_OCTETS
        )

    def free_places(self) -> int:
        """How many attempts the schedule may bring from the ledger now."""
        if self._closing or self.policy.connections == 0:
            return 0
        if self._breaker.closed:
            return max(0, BACKLOG_MESSAGES // 2 - len(self._fresh))
        allowed = self._breaker.allows(self._parts.now_ms(), self._running + len(self._fresh), self.policy.connections)
        return 1 if allowed else 0

    @property
    def usable(self) -> bool:
        """Whether attempts can be made at all: not where the next hop is no longer configured, nor at the end."""
        return self.policy.connections > 0 and not self._closing

    @property
    def quiet(self) -> bool:
        """Whether it could be forgotten: nothing to do, and no connection open."""
        return not (self._waiting or self._workers)

    @property
    def _waiting(self) -> int:
        return len(self._trials) + len(self._fresh) + len(self._drains)

    def status(self) -> LaneStatus:
        """The lane as operators see it."""
        breaker = "closed" if self._breaker.closed else "open"
        return LaneStatus(
            self.name,
            self._running,
            self._waiting,
            breaker,
            None if self._breaker.closed else self._breaker.open_until_ms,
            self._last_failure,
        )

    def submit(self, attempt: Attempt) -> None:
        """Queues an attempt; a drain's waits behind new mail and for its own share of connections."""
        if not self.usable:
            self._give_back(attempt)
            return
        line = self._fresh if attempt.drain_of is None else self._trials if attempt.trial else self._drains
        line.append(attempt)
        self._octets += attempt.message.body.length
        self._wake()

    def _give_back(self, attempt: Attempt) -> None:
        """An attempt that was never begun: its deliveries wait in the ledger again."""
        results = [_broken_off("The next hop is not to be tried now") for _ in attempt.legs]
        self._parts.settle(attempt, results, "", 0)

    def call_off(self, event_id: int) -> None:
        """Gives back what waits here to be handed back by an event that does not go on with it."""
        given_up = [attempt for attempt in self._drains if attempt.drain_of == event_id]
        self._drains = deque(attempt for attempt in self._drains if attempt.drain_of != event_id)
        self._give_back_all(deque(given_up))

    def _give_back_all(self, attempts: deque[Attempt]) -> None:
        while attempts:
            attempt = attempts.popleft()
            self._octets -= attempt.message.body.length
            self._give_back(attempt)

    def use(self, parts: LaneParts) -> None:
        """Takes the parts of a reloaded configuration for what comes next."""
        self._parts = parts
        if not self.usable:
            for line in (self._trials, self._fresh, self._drains):
                self._give_back_all(line)

    async def close(self, patience_s: float) -> list[Attempt]:
        """Ends the lane: attempts in a conversation run on for a while, those that never began are given back."""
        self._closing = True
        waiting = [*self._trials, *self._fresh, *self._drains]
        for line in (self._trials, self._fresh, self._drains):
            line.clear()
        for future in self._idle:
            if not future.done():
                future.set_result(None)
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=patience_s)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        return waiting

    # ── workers ──

    def _wake(self) -> None:
        while self._idle:
            future = self._idle.popleft()
            if not future.done():
                future.set_result(None)
                return
        if len(self._workers) < self.policy.connections:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._worker_ended)

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        self._workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            log.error("lane_worker_failed", lane=self.name, exc_info=error)
        if self._waiting and not self._closing:
            self._wake()

    def _take(self) -> Attempt | None:
        """The next attempt that may begin now: an open breaker lets few through."""
        line = self._next_line()
        if line is None:
            return None
        attempt = line.popleft()
        self._octets -= attempt.message.body.length
        return attempt

    def _next_line(self) -> deque[Attempt] | None:
        if self._trials:
            return self._trials
        if not self._breaker.allows(self._parts.now_ms(), self._running, self.policy.connections):
            return None
        drains = self._drains if self._drains and self._draining < self.policy.drain_connections else None
        if drains is not None and not self._breaker.closed:
            return drains
        return self._fresh or drains

    async def _work(self) -> None:
        connection: Connection | None = None
        try:
            while True:
                attempt = self._take()
                if attempt is not None:
                    connection = await self._run(attempt, connection)
                    self._parts.changed(self.name)
                elif self._closing or not await self._rest():
                    break
        finally:
            if connection is not None:
                await connection.quit()

    async def _rest(self) -> bool:
        """Waits for work with the connection kept open; False when none came for a while."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(future)
        try:
            async with asyncio.timeout(IDLE_S):
                await future
        except TimeoutError:
            if not future.cancelled():
                return True
            if future in self._idle:
                self._idle.remove(future)
            return self._waiting > 0
        return True

    async def _run(self, attempt: Attempt, connection: Connection | None) -> Connection | None:
        """One attempt, settled whatever happens."""
        self._running += 1
        self._draining += attempt.drain_of is not None
        began = self._parts.now_ms()
        remote = ""
        try:
            if connection is not None and connection.transactions >= TRANSACTIONS_PER_CONNECTION:
                await connection.quit()
                connection = None
            results, connection, remote = await self._parts.runner.run(self.name, self.policy, attempt, connection)
        except asyncio.CancelledError:
            results = [_broken_off("The gateway was stopping", in_doubt=True) for _ in attempt.legs]
            self._parts.settle(attempt, results, remote, self._parts.now_ms() - began)
            raise
        except StormsailError as error:
            # Our own store would not let us begin: nothing was sent.
            results = [_broken_off(error.sentence) for _ in attempt.legs]
        except Exception:
            # A fault of ours, nobody knows how far it came: tried again and marked. It says nothing of the next hop.
            log.exception("attempt_failed", lane=self.name, message=attempt.message.id)
            results = [_broken_off("The attempt failed here", in_doubt=True) for _ in attempt.legs]
            if connection is not None:
                connection.close("An attempt on it failed")
                connection = None
        finally:
            self._running -= 1
            self._draining -= attempt.drain_of is not None
        self._count(results)
        self._settle(attempt, results, remote, self._parts.now_ms() - began)
        return connection

    def _settle(self, attempt: Attempt, results: list[LegResult], remote: str, took_ms: int) -> None:
        try:
            self._parts.settle(attempt, results, remote, took_ms)
        except Exception:
            log.exception("settlement_failed", lane=self.name, message=attempt.message.id)

    def _count(self, results: list[LegResult]) -> None:
        """Only failures of the next hop as a whole count for the breaker."""
        tried = [result for result in results if result.tells_of_next_hop]
        failed = [result for result in tried if result.about is ReplyClass.SYSTEM]
        if failed:
            self._last_failure = str(failed[0].reply)
            was_closed = self._breaker.closed
            self._breaker = self._breaker.failure(self._parts.now_ms(), self._parts.chance())
            if was_closed and not self._breaker.closed:
                log.warning("breaker_opened", lane=self.name, reply=self._last_failure)
                self._give_back_all(self._fresh)
        elif tried:
            self._last_failure = ""
            was_open = not self._breaker.closed
            self._breaker = self._breaker.success()
            if was_open and self._breaker.closed:
                log.info("breaker_closed", lane=self.name)


def _broken_off(text: str, *, in_doubt: bool = False) -> LegResult:
    """A result that says nothing of the next hop."""
    return LegResult(ReplyClass.MESSAGE_TEMPORARY, Reply(451, "4.3.0", escape(text)), Stage.CONNECT, in_doubt)
