"""The storyteller: watches faults and status, says what has changed, what it amounts to and what to try next.

In: the faults file, the gateway's status, the scoreboard. Out: lines. Nothing here changes anything.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from stormsail.domain.errors import StormsailError
from stormsail.wire import Event

from .console import Console, Tone
from .faults import read_faults, unseen
from .gateway_line import GatewayLine
from .outside import Sender
from .scoreboard import Scoreboard
from .situation import Commands, Phase, Situation, hints, relapse, sum_up

LOOK_S = 0.5
COUNT_S = 15.0
HINT_S = 60.0
SETTLED_S = 3.0
PATIENCE_S = 90.0


class Story:
    """`situation` is the last look. `run` until cancelled."""

    def __init__(
        self,
        mail: Path,
        line: GatewayLine,
        sender: Sender,
        scoreboard: Scoreboard,
        console: Console,
        commands: Commands,
    ) -> None:
        self._mail = mail
        self._line = line
        self._sender = sender
        self._scoreboard = scoreboard
        self._console = console
        self._commands = commands
        self._counted_at = time.monotonic()
        self._hinted_at = time.monotonic()
        self._line_is_dead = False
        self._prove_at: float | None = None
        self.situation = Situation()

    async def run(self) -> None:
        """Tells for ever."""
        while True:
            await asyncio.sleep(LOOK_S)
            before, self.situation = self.situation, await self._look()
            await self._tell_changes(before, self.situation)
            self._count()
            self._prove()
            if time.monotonic() - self._hinted_at > HINT_S:
                self._hint()

    async def _look(self) -> Situation:
        try:
            status = await self._line.status()
        except (StormsailError, httpx.HTTPError) as error:
            if not self._line_is_dead:
                self._console.say(f"The gateway does not answer: {error}", Tone.TROUBLE)
            self._line_is_dead = True
            return Situation(read_faults(self._mail), self.situation.status)
        self._line_is_dead = False
        return Situation(read_faults(self._mail), status)

    async def _tell_changes(self, before: Situation, now: Situation) -> None:
        if now.faults != before.faults:
            self._console.say(f"The sandbox primary: {now.faults.describe()}.", Tone.NEWS)
            for words in unseen(before.faults, now.faults):
                self._console.say(words, Tone.HINT)
        known = {event.id: event for event in before.events}
        for event in now.events:
            self._tell_event(known.pop(event.id, None), event)
        for event in known.values():
            await self._tell_closed(event)
        if now.phase is not before.phase:
            self._hint()

    def _tell_event(self, before: Event | None, now: Event) -> None:
        if before is None:
            words = (
                f"Event {now.id} is on: {now.scope}, started by {now.started_by} ({now.reason}). Mail for it is held."
            )
            self._console.say(words, Tone.NEWS)
        elif (before.state, now.state) == ("draining", "active"):
            self._console.say(relapse(now, self._commands), Tone.TROUBLE)
        elif before.state != now.state:
            self._console.say(f"Event {now.id}: {before.state} → {now.state}, {now.held} held.", Tone.NEWS)
        elif now.state == "draining" and now.handed_back != before.handed_back:
            eta = f", about {now.eta_s} s left" if now.eta_s is not None else ""
            self._console.say(f"back    {now.handed_back} handed back, {now.held} still held{eta}", Tone.COUNT)

    async def _tell_closed(self, event: Event) -> None:
        try:
            report = await self._line.report(event.id)
        except (StormsailError, httpx.HTTPError) as error:
            self._console.say(f"Event {event.id} is over; its report cannot be read: {error}", Tone.TROUBLE)
            return
        sums = report.balance
        self._console.say(
            f"Event {event.id} is over. {sums.came_in} came in = {sums.handed_back} handed back + "
            f"{sums.filed_only_here} filed only here + {sums.refused} refused + {sums.dropped} dropped + "
            f"{sums.still_open} still open{'' if report.balanced else ' — and that does not come out!'}",
            Tone.NEWS,
        )
        self._console.say(f"Look: {self._commands.gateway(f'report {event.id}')}", Tone.HINT)
        self._prove_at = time.monotonic()

    def _prove(self) -> None:
        """After an event: everything that was written must be in the primary's mailboxes."""
        if self._prove_at is None or time.monotonic() - self._prove_at < SETTLED_S:
            return
        balance = self._scoreboard.balance(time.monotonic() - self._prove_at)
        waited = time.monotonic() - self._prove_at
        if balance.missing and waited < PATIENCE_S and (self.situation.open_deliveries or self._sender.waiting):
            return
        self._prove_at = None
        if balance.missing:
            message, mailbox = balance.missing[0]
            words = (
                f"{len(balance.missing)} of {balance.expected} are not in the primary's mailboxes, such as {message}"
            )
            self._console.say(f"{words} for {mailbox}", Tone.TROUBLE)
            return
        twice = f", {balance.repeated} of them twice" if balance.repeated else ", each of them once"
        self._console.say(
            f"Looked into the primary's mailboxes: all {balance.expected} messages written so far are there{twice}.",
            Tone.NEWS,
        )

    def _count(self) -> None:
        status = self.situation.status
        if status is not None and time.monotonic() - self._counted_at > COUNT_S:
            self._counted_at = time.monotonic()
            words = sum_up(status, self._sender.waiting, self._scoreboard.in_mailboxes())
            self._console.say(f"so far  {words}", Tone.COUNT)

    def _hint(self) -> None:
        self._hinted_at = time.monotonic()
        if self.situation.phase is Phase.WELL and self.situation.status is None:
            return
        for words in hints(self.situation, self._commands):
            self._console.say(words, Tone.HINT)
