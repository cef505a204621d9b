"""Sending exactly once: what was answered to a request with an idempotency key is answered again.

In: account, key, the request's bytes. Out: the earlier answer, or the right to send. A key is remembered for 7 days.
Fails with IdempotencyKeyReused (the same key for something else), Conflict (still being sent), OutcomeUnknown (the
gateway stopped or failed while sending: only a look into Sent tells).
"""

from __future__ import annotations

import hashlib

from stormsail.clock import MS_PER_DAY, Clock
from stormsail.domain.errors import Conflict, IdempotencyKeyReused, OutcomeUnknown

from .database import PeopleDatabase

KEPT_MS = 7 * MS_PER_DAY


class SentOnce:
    """Remembers keys with their answers."""

    def __init__(self, database: PeopleDatabase, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._under_way: set[tuple[int, str]] = set()

    async def begin(self, account_id: int, key: str, request: bytes) -> bytes | None:
        """The answer given earlier, or None: then send, and call `finish` or `abandon`."""
        digest = hashlib.sha256(request).digest()
        now = self._clock.now_ms()
        async with self._database.transaction() as connection:
            await connection.execute("DELETE FROM sent_once WHERE at < ?", (now - KEPT_MS,))
            sql = "SELECT request_hash, answer FROM sent_once WHERE account_id = ? AND key = ?"
            rows = list(await connection.execute_fetchall(sql, (account_id, key)))
            if rows:
                return self._earlier(account_id, key, bytes(rows[0][0]) == digest, rows[0][1])
            await connection.execute(
                "INSERT INTO sent_once (account_id, key, request_hash, at) VALUES (?,?,?,?)",
                (account_id, key, digest, now),
            )
            self._under_way.add((account_id, key))
        return None

    async def finish(self, account_id: int, key: str, answer: bytes) -> None:
        """The message was accepted: remembers the answer."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute(
                    "UPDATE sent_once SET answer = ? WHERE account_id = ? AND key = ?", (answer, account_id, key)
                )
        finally:
            self._under_way.discard((account_id, key))

    async def abandon(self, account_id: int, key: str) -> None:
        """Nothing was sent: the key may be used again."""
        try:
            async with self._database.transaction() as connection:
                await connection.execute("DELETE FROM sent_once WHERE account_id = ? AND key = ?", (account_id, key))
        finally:
            self._under_way.discard((account_id, key))

    def lose(self, account_id: int, key: str) -> None:
        """It may have been sent or not: the key stays as it is, without an answer."""
        self._under_way.discard((account_id, key))

    def _earlier(self, account_id: int, key: str, same: bool, answer: bytes | None) -> bytes:
        if not same:
            raise IdempotencyKeyReused("This Idempotency-Key was used for another message")
        if answer is not None:
            return answer
        if (account_id, key) in self._under_way:
            raise Conflict("The message with this Idempotency-Key is just being sent")
        raise OutcomeUnknown(
            "The gateway failed while this message was being sent: look for it in Sent, and if it is not there,"
            " send it again with a new Idempotency-Key"
        )
