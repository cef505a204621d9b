"""The intake on an open ledger, without doors: senders whose replies are lost, and a disk that fails on demand.

In: an `OpenLedger`. Out: what each sender was told, and the messages that were handed on.
"""

from __future__ import annotations

import hashlib
import os
import time

from stormsail.domain.errors import StormsailError
from stormsail.domain.routing import Direction, RecipientKind
from stormsail.domain.scope import Coverage
from stormsail.intake import (
    Accepted,
    ConnectorRule,
    HeaderFacts,
    Incoming,
    Intake,
    IntakeParts,
    ReceivedBody,
    Repeats,
    ResolvedRecipient,
)
from stormsail.ledger import Acceptance, MessageFlag
from stormsail.store import BodyRef, Place
from testkit.open_ledger import OpenLedger

ANN = "ann@example.com"
LETTER = b"Subject: x\r\n\r\nhello\r\n"


class Sender:
    """A peer; once it is `gone` it cannot know its reply."""

    def __init__(self) -> None:
        self.gone = False
        self.told: list[Accepted | StormsailError] = []

    def reply_in_doubt(self) -> bool:
        return self.gone


class OpenIntake:
    """Takes letters to Ann; `accepted` are the ids of those that were handed on to delivery."""

    def __init__(self, opened: OpenLedger) -> None:
        self.opened = opened
        self.accepted: list[int] = []
        self.delivery_fails = False
        self._intake = Intake(
            IntakeParts(
                hostname="mx.example.com",
                secret=b"secret",
                data_dir=opened.folder,
                disk_reserve=0,
                smarthost=True,
                clock=opened.clock,
                ledger=opened.ledger,
                reader=opened.reader,
                repeats=Repeats(),
                coverage=Coverage,
                start_now=lambda lane, size: False,
                on_accepted=self._hand_on,
                is_mailbox=lambda address: None,
                connector=ConnectorRule([]),
            )
        )

    def _hand_on(self, acceptance: Acceptance, content: bytes | None, ref: BodyRef) -> None:
        if self.delivery_fails:
            raise ZeroDivisionError("a fault of ours")
        self.accepted.append(acceptance.id)

    def begin(self, sender: Sender) -> None:
        """The letter is on its way to the disk when this returns."""
        assert self._intake.take_at_once(self._incoming(sender), self._small(), sender.told.append)

    async def hand_in(self, sender: Sender, *, large: bool = False) -> Accepted:
        """Waits for the reply. Raises the error that the sender is told."""
        return await self._intake.take(self._incoming(sender), self._large() if large else self._small())

    def _incoming(self, sender: Sender) -> Incoming:
        ann = ResolvedRecipient(ANN, ANN, "example.com", RecipientKind.OURS, ANN, None, True, "exchange")
        return Incoming(Direction.MX, "192.0.2.1", "client.test", "ESMTP", "", "x@example.org", [ann], sender)

    def _small(self) -> ReceivedBody:
        print_ = hashlib.sha256(LETTER).digest()
        return ReceivedBody(LETTER, None, len(LETTER), print_, MessageFlag.NONE, HeaderFacts(0, (), (), False))

    def _large(self) -> ReceivedBody:
        spooled = self.opened.bodies.spool()
        spooled.write(LETTER)
        print_ = hashlib.sha256(b"large").digest()
        return ReceivedBody(None, spooled, len(LETTER), print_, MessageFlag.NONE, HeaderFacts(0, (), (), False))

    def fail_disk(self, error: int, *, after_s: float = 0.0) -> None:
        """The next batch of messages fails after a while."""
        real = self.opened.bodies.keep

        def fails(day: str, data: bytes) -> Place:
            self.opened.bodies.keep = real  # type: ignore[method-assign]
            time.sleep(after_s)
            raise OSError(error, os.strerror(error))

        self.opened.bodies.keep = fails  # type: ignore[method-assign]
