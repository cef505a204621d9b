"""The people of the demo at work: outsiders write in and answer, colleagues write to each other and to the outside.

In: how things stand, a source of chance. Out: mail at a visible pace and a line on the console for each. Colleagues
write by the primary's submission while it works, and here while an event covers them.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Coroutine

import aiosmtplib
import httpx
import msgspec

from stormsail.domain.errors import StormsailError

from .console import Console, Tone
from .faults import Kind
from .gateway_line import GatewayLine
from .letters import Letter, Writer, alarm, answer_to, colleagues_letter, first_letter, newsletter
from .outside import WRITERS, Arrived, Sender, in_words, writer_at
from .people import DOMAIN, INFO, OTHERS, PEOPLE, STAFF_PASSWORD, SUPPORT, Person, person_at
from .scoreboard import Scoreboard
from .situation import Situation

ANSWERED_SHARE = 0.5
THREAD_LIMIT = 4
REMEMBERED = 40
GROUPS = tuple(other for other in OTHERS if other.kind == "group")


class Pace(msgspec.Struct, frozen=True):
    """Mean seconds between letters, and before an answer."""

    outside_s: float = 2.5
    inside_s: float = 5.0
    answer_s: float = 7.0


class Correspondents:
    """Everybody. `work` until cancelled."""

    def __init__(
        self,
        sender: Sender,
        line: GatewayLine,
        submission_port: int,
        situation: Callable[[], Situation],
        scoreboard: Scoreboard,
        console: Console,
        pace: Pace,
        chance: random.Random,
    ) -> None:
        self._sender = sender
        self._line = line
        self._submission_port = submission_port
        self._situation = situation
        self._scoreboard = scoreboard
        self._console = console
        self._pace = pace
        self._chance = chance
        self._unanswered: deque[tuple[Person, Letter]] = deque(maxlen=REMEMBERED)
        self._to_answer: asyncio.Queue[Letter] = asyncio.Queue(REMEMBERED)
        self._threads: dict[tuple[str, str, str], int] = {}

    def work(self) -> list[Coroutine[None, None, None]]:
        """What has to run for everybody to write, each for ever."""
        return [self._outside_writes(), self._outside_answers(), self._inside_writes(), self._sender.retry()]

    def arrived_outside(self, arrived: Arrived) -> None:
        """A message reached a correspondent; some of them answer, up to a length of thread."""
        reader = next((found for found in map(writer_at, arrived.recipients) if found is not None), None)
        if reader is None or person_at(arrived.author.address) is None:
            return
        thread = (arrived.author.address, reader.address, arrived.subject.removeprefix("Re: "))
        self._threads[thread] = self._threads.get(thread, 0) + 1
        if (
            self._threads[thread] <= THREAD_LIMIT
            and self._chance.random() < ANSWERED_SHARE
            and not self._to_answer.full()
        ):
            known = person_at(arrived.author.address)
            author = Writer(known.name if known else arrived.author.name, arrived.author.address)
            letter = Letter(author, reader, arrived.recipients, arrived.subject, arrived.text, b"", arrived.message_id)
            self._to_answer.put_nowait(letter)

    # ── outside ──

    async def _outside_writes(self) -> None:
        while True:
            await self._pause(self._pace.outside_s)
            await self._send_in(self._compose_outside())

    async def _outside_answers(self) -> None:
        while True:
            letter = await self._to_answer.get()
            await self._pause(self._pace.answer_s)
            await self._send_in(answer_to(letter, letter.to, self._chance))

    def _compose_outside(self) -> Letter:
        person, writer = self._chance.choice(PEOPLE), self._chance.choice(WRITERS)
        to = as_writer(person)
        dice = self._chance.random()
        if dice < 0.10:
            return newsletter(to, self._chance)
        if dice < 0.14:
            return alarm(to)
        if dice < 0.20:
            group = self._chance.choice(GROUPS)
            return first_letter(writer, Writer(group.name, group.address), self._chance)
        if dice < 0.30:
            team = self._chance.choice((Writer("Information team", INFO), Writer("Support team", SUPPORT)))
            return first_letter(writer, team, self._chance)
        if dice < 0.40:
            other = self._chance.choice([other for other in PEOPLE if other != person])
            return first_letter(writer, to, self._chance, copies=(as_writer(other),))
        if dice < 0.50:
            return first_letter(writer, Writer(person.name, person.alias), self._chance)
        return first_letter(writer, to, self._chance)

    async def _send_in(self, letter: Letter) -> None:
        where = person_at(letter.to.address)
        place = f", {where.segment}" if where is not None else ""
        self._scoreboard.written(letter.message_id, letter.recipients)
        if await self._sender.send(letter):
            self._console.say(f"in      {letter.author.name} → {letter.to.name}{place}: {letter.subject}")
        if where is not None and writer_at(letter.author.address) is not None:
            self._unanswered.append((where, letter))

    # ── inside ──

    async def _inside_writes(self) -> None:
        while True:
            await self._pause(self._pace.inside_s)
            person, letter = self._compose_inside()
            if self._situation().covers(person):
                await self._write_here(person, letter)
            else:
                await self._submit(person, letter)

    def _compose_inside(self) -> tuple[Person, Letter]:
        if self._unanswered and self._chance.random() < ANSWERED_SHARE:
            person, letter = self._unanswered.popleft()
            return person, answer_to(letter, as_writer(person), self._chance)
        person, other = self._chance.sample(PEOPLE, 2)
        dice = self._chance.random()
        if dice < 0.3:
            return person, first_letter(as_writer(person), self._chance.choice(WRITERS), self._chance)
        if dice < 0.4:
            group = self._chance.choice(GROUPS)
            return person, colleagues_letter(as_writer(person), Writer(group.name, group.address), self._chance)
        return person, colleagues_letter(as_writer(person), as_writer(other), self._chance)

    async def _write_here(self, person: Person, letter: Letter) -> None:
        try:
            sent = await self._line.send(person.address, list(letter.recipients), letter.subject, letter.text)
            self._scoreboard.written(sent.message_id, letter.recipients)
            self._say_written(person, letter, "here")
            if self._chance.random() < 0.3:
                page = await self._line.inbox(person.address)
                newest = page.messages[0].subject if page.messages else "nothing yet"
                self._console.say(f"reads   {person.name} reads the inbox kept here; the newest: {newest}")
        except (StormsailError, httpx.HTTPError) as error:
            self._console.say(f"{person.name} cannot write here: {error}", Tone.TROUBLE)

    async def _submit(self, person: Person, letter: Letter) -> None:
        try:
            await aiosmtplib.send(
                letter.content,
                sender=person.address,
                recipients=list(letter.recipients),
                hostname="127.0.0.1",
                port=self._submission_port,
                username=person.address,
                password=STAFF_PASSWORD,
                validate_certs=False,
                timeout=10,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            words = f"{person.name} ({person.segment}) cannot send by the primary: {in_words(error)}"
            self._console.say(words, Tone.TROUBLE)
            return
        self._scoreboard.written(letter.message_id, letter.recipients)
        if letter.to.domain != DOMAIN and self._situation().faults.has(Kind.OUTBOUND):
            self._say_written(person, letter, "could not be sent: it waits in the primary's queue", Tone.TROUBLE)
        else:
            self._say_written(person, letter, "by the primary")

    def _say_written(self, person: Person, letter: Letter, how: str, tone: Tone = Tone.MAIL) -> None:
        kind = "inside" if letter.to.domain == DOMAIN else "out   "
        self._console.say(f"{kind}  {person.name} → {letter.to.name}: {letter.subject}   ({how})", tone)

    async def _pause(self, mean_s: float) -> None:
        await asyncio.sleep(min(self._chance.expovariate(1 / mean_s), 3 * mean_s))


def as_writer(person: Person) -> Writer:
    """A person of ours as letters know them."""
    return Writer(person.name, person.address, person.language)
