"""What the ledger has its writer do: keep a message, move deliveries, something rare."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from stormsail.store import BodyRef, Job

from .values import Acceptance, Change

NOTES = msgspec.msgpack.Encoder()


class AcceptJob(Job):
    """A message. With `changes` it is a notice: kept only if one of them is still possible, in one commit with them."""

    __slots__ = ("acceptance", "changes")

    def __init__(
        self, acceptance: Acceptance, content: bytes | None, ref: BodyRef | None, changes: list[Change]
    ) -> None:
        super().__init__(content, acceptance.id, b"" if changes else NOTES.encode((acceptance, ref)))
        self.acceptance = acceptance
        self.changes = changes
        self.ref = ref


class ChangeJob(Job):
    __slots__ = ("changes",)

    def __init__(self, changes: list[Change]) -> None:
        super().__init__()
        self.changes = changes


class CallJob(Job):
    __slots__ = ("call",)

    def __init__(self, call: Callable[[sqlite3.Connection], Any]) -> None:
        super().__init__()
        self.call = call


def leave_out(confirmed: set[tuple[bytes, int]], accepts: Sequence[AcceptJob]) -> None:
    """Most messages are confirmed before they get their rows: nothing need be written of them as unconfirmed."""
    for job in accepts:
        acceptance = job.acceptance
        pairs = {(print_, acceptance.id) for print_ in acceptance.fingerprints} & confirmed
        if pairs:
            acceptance.fingerprints = [one for one in acceptance.fingerprints if (one, acceptance.id) not in pairs]
            confirmed -= pairs
