"""Running one attempt: what an event covers is held, the rest goes through one SMTP transaction.

In: an attempt and perhaps an open connection. Out: a result for each delivery, the connection if it can be used on,
and the remote end's name. Coverage is looked at twice: before connecting, and again just before MAIL (DESIGN §5).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.ids import id_to_text
from stormsail.domain.replies import ReplyClass, Stage, classify, classify_outward
from stormsail.domain.reply import Reply, escape
from stormsail.domain.scope import Coverage
from stormsail.ledger import Ledger
from stormsail.resolver import NoMailHost
from stormsail.smtpclient import (
    ConnectFailed,
    Connection,
    Envelope,
    Message,
    RecipientResult,
    Transaction,
    open_connection,
    run_transaction,
)
from stormsail.store import BodyDamaged, BodyFiles, Ownership

from .attempt import Attempt, Leg, LegResult
from .hops import Hops, LanePolicy

SUPPRESS = b"X-Auto-Response-Suppress: OOF, AutoReply\r\n"
WHOLE = 1 << 20
"""Octets of a message that is read as a whole."""
COVERED = Reply(250, "2.0.0", "An event covers the recipient")


@dataclass(frozen=True)
class Runner:
    """Knows how to make an attempt. `announced` is told the SIZE a primary announces."""

    hostname: str
    bodies: BodyFiles
    hops: Hops
    ledger: Ledger
    ownership: Ownership
    coverage: Callable[[], Coverage]
    announced: Callable[[str, int | None], None]

    async def run(
        self, lane: str, policy: LanePolicy, attempt: Attempt, connection: Connection | None
    ) -> tuple[list[LegResult], Connection | None, str]:
        """Makes the attempt; never raises for what a peer may do."""
        covered = self._covered(policy, attempt)
        if len(covered) == len(attempt.legs):
            return self._merge(attempt, covered, []), connection, ""
        try:
            content = await self._content(attempt)
        except BodyDamaged as error:
            reply = Reply(554, "5.6.0", escape(error.sentence))
            damaged = LegResult(ReplyClass.MESSAGE_TEMPORARY, reply, Stage.CONNECT)
            return [damaged for _ in attempt.legs], connection, ""
        reused = connection is not None and connection.lost is None
        if not reused:
            connection, failure = await self._connect(lane, policy)
            if connection is None:
                return self._merge(attempt, covered, [failure] * len(attempt.legs)), None, failure.remote
        assert connection is not None
        try:
            transaction, covered = await self._transact(policy, attempt, content, connection)
        except BaseException:
            if not reused:
                connection.close("The attempt was not made")
            raise
        if reused and _never_began(connection, transaction):
            return await self.run(lane, policy, attempt, None)
        results = self._merge(attempt, covered, self._judge(policy, transaction))
        return results, connection if connection.lost is None else None, connection.remote

    # ── steps ──

    def _covered(self, policy: LanePolicy, attempt: Attempt) -> dict[int, int]:
        """Delivery id → the active event that covers its recipient."""
        if policy.to_primary is None:
            return {}
        coverage = self.coverage()
        if not coverage.events:
            return {}
        ending = attempt.drain_of if attempt.trial else None
        found = {leg.id: coverage.event_for(leg.subject, but=ending) for leg in attempt.legs}
        return {leg: event for leg, event in found.items() if event is not None}

    async def _content(self, attempt: Attempt) -> Message:
        """The message's bytes; of a large one the pieces, so that many at once do not fill the memory."""
        message = attempt.message
        if message.content is not None:
            return message.content
        if message.body.length <= WHOLE:
            return await asyncio.to_thread(self.bodies.read, message.body)
        pieces = self.bodies.pieces(message.body)
        return _pieces(await asyncio.to_thread(next, pieces), pieces)

    async def _connect(self, lane: str, policy: LanePolicy) -> tuple[Connection | None, Failure]:
        """The first next hop that talks to us."""
        try:
            hops = await self.hops.next_hops(lane)
        except NoMailHost as error:
            return None, Failure(error.reply, Stage.RCPT, lane)
        except NextHopUnavailable as error:
            return None, Failure(error.reply, Stage.CONNECT, lane)
        failure = Failure(Reply(451, "4.4.1", "There is no next hop"), Stage.CONNECT, lane)
        for hop in hops:
            try:
                connection = await open_connection(hop, self.hostname, policy.connect_timeout_s)
            except ConnectFailed as error:
                failure = Failure(error.peer_reply, error.stage, error.remote)
                continue
            if policy.to_primary is not None:
                self.announced(policy.to_primary, connection.size_limit)
            return connection, failure
        return None, failure

    async def _transact(
        self, policy: LanePolicy, attempt: Attempt, content: Message, connection: Connection
    ) -> tuple[Transaction, dict[int, int]]:
        message = attempt.message
        if self.ownership.stalled:
            await self.ledger.verify_ownership()
        covered = self._covered(policy, attempt)
        legs = [leg for leg in attempt.legs if leg.id not in covered]
        if not legs:
            return Transaction([], False), covered
        limit = connection.size_limit
        if limit is not None and message.size > limit:
            too_large = Reply(552, "5.3.4", f"The next hop takes {limit} octets at most")
            return Transaction([RecipientResult(too_large, Stage.MAIL) for _ in legs], False), covered
        connection.transactions += 1
        start = b"".join([*_added_fields(attempt, legs), message.head])
        size = len(start) + message.body.length
        text = start + content if isinstance(content, bytes) else _pieces(start, content)
        envelope = Envelope(message.reverse_path, tuple(leg.recipient for leg in legs), size, message.eight_bit)
        return await run_transaction(connection, envelope, text, policy.timeouts), covered

    @staticmethod
    def _judge(policy: LanePolicy, transaction: Transaction) -> list[Failure | LegResult]:
        judge = classify if policy.to_primary is not None else classify_outward
        return [
            LegResult(judge(result.reply, result.stage), result.reply, result.stage, result.in_doubt)
            for result in transaction.results
        ]

    @staticmethod
    def _merge(attempt: Attempt, covered: dict[int, int], tried: list[Failure | LegResult]) -> list[LegResult]:
        """Results in the order of the attempt's legs: held by an event, or as tried."""
        results: list[LegResult] = []
        rest = iter(tried)
        for leg in attempt.legs:
            if leg.id in covered:
                results.append(LegResult(None, COVERED, Stage.CONNECT, covered_by=covered[leg.id]))
            else:
                result = next(rest)
                results.append(result if isinstance(result, LegResult) else result.leg_result())
        return results


@dataclass(frozen=True)
class Failure:
    """No connection: what was said last, by whom."""

    reply: Reply
    stage: Stage
    remote: str

    def leg_result(self) -> LegResult:
        # At the stage RCPT only where DNS itself says that there is no such recipient anywhere.
        about = classify_outward(self.reply, self.stage) if self.stage is Stage.RCPT else ReplyClass.SYSTEM
        return LegResult(about, self.reply, self.stage)


async def _pieces(first: bytes, rest: AsyncIterator[bytes] | Iterator[bytes]) -> AsyncIterator[bytes]:
    """One piece and then the others, read off the loop where they come from the disk."""
    yield first
    if isinstance(rest, AsyncIterator):
        async for piece in rest:
            yield piece
    else:
        while read := await asyncio.to_thread(next, rest, b""):
            yield read


def _added_fields(attempt: Attempt, legs: list[Leg]) -> list[bytes]:
    """Fields that this attempt puts on top of everything."""
    fields = []
    if any(leg.first_event is not None for leg in legs):
        # Old mail, also where an attempt of the drain failed or a crash cut it off and it goes out like any other.
        fields.append(SUPPRESS)
    if legs[0].marked:
        fields.append(f"Stormsail-Repeat: {id_to_text(attempt.message.id)}; possible\r\n".encode())
    return fields


def _never_began(connection: Connection, transaction: Transaction) -> bool:
    """Whether a connection that had been kept open turned out to be closed before the peer said anything to MAIL."""
    return (
        connection.lost is not None
        and bool(transaction.results)
        and all(result.stage is Stage.MAIL and result.reply.code == 451 for result in transaction.results)
        and connection.replies_since_start == 0
    )
