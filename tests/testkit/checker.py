"""The invariants that every crash, fault and load test ends with (DESIGN §1, §3): one checker for all of them.

In: the witness that handed mail in, the next hop that took it, the gateway. Out: AssertionError that names each
difference; a line that says how many points were tried and what was found.
"""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from .correspondent import Correspondent, Letter
from .gateway import Gateway
from .next_hop import NextHop
from .waiting import wait_until

PASSWORD = "correct horse battery"
MARK = re.compile(rb"\r\nX-Letter: (\d{6})\r\n")
OURS = re.compile(
    rb"(?:(?:Stormsail-Repeat|X-Auto-Response-Suppress|Received|Stormsail-Trace): [^\r]*\r\n(?:\t[^\r]*\r\n)*)+"
)
SETTLED = {"relayed", "absorbed"}


@dataclass
class Points:
    """What was tried, for the line at the end."""

    name: str
    tried: Counter[str] = field(default_factory=Counter)

    def note(self, kind: str) -> None:
        self.tried[kind] += 1

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.tried.items()))
        return f"{self.name}: {self.tried.total()} points tried ({kinds})"


class Checker:
    """Looks at one gateway over all its lives. `look` while it runs, as often as wanted; `check` at the end."""

    def __init__(self, gateway: Gateway, witness: Correspondent, hop: NextHop, points: Points) -> None:
        self._gateway = gateway
        self._witness = witness
        self._hop = hop
        self._points = points
        self._uids: dict[tuple[str, str, int, int], int] = {}
        self.lives = 0

    def look(self) -> None:
        """Remembers which UID means which message: no later life may give one of them to another."""
        connection = sqlite3.connect(f"file:{self._gateway.data / 'mail.db'}?mode=ro", uri=True, timeout=10)
        sql = (
            "SELECT b.address, f.name, f.uidvalidity, c.uid, c.message_id FROM copy c"
            " JOIN folder f ON f.id = c.folder_id JOIN mailbox b ON b.id = c.mailbox_id"
        )
        try:
            rows = connection.execute(sql).fetchall()
        finally:
            connection.close()
        for address, folder, validity, uid, message in rows:
            known = self._uids.setdefault((address, folder, validity, uid), message)
            assert known == message, f"UID {uid} of {address}/{folder} was given to two messages"

    def check(self, patience_s: float = 60) -> str:
        """Waits until nothing is on its way any more, then proves everything; says in a line what was tried."""
        wait_until(self._settled, "everything to be delivered", patience_s, self._words)
        problems = [*self._arrivals(), *self._copies()]
        answer = self._gateway.api("GET", "/ledger/check")
        problems += answer["differences"]
        self.look()
        assert not problems, f"{self._points}\n" + "\n".join(problems[:40])
        self._gateway.assert_sound()
        marked = sum(b"Stormsail-Repeat: " in one.content for one in self._hop.messages)
        lost = sum(letter.lost for letter in self._witness.letters)
        refused = sum(len(letter.refused) for letter in self._witness.letters)
        return (
            f"{self._points}; {len(self._witness.letters)} letters, {lost} replies lost, {refused} refusals for now,"
            f" {marked} marked copies; nothing lost, nothing doubled unmarked"
        )

    def _settled(self) -> bool:
        return set(self._gateway.totals()) <= SETTLED and self._all_copied()

    def _all_copied(self) -> bool:
        connection = sqlite3.connect(f"file:{self._gateway.data / 'mail.db'}?mode=ro", uri=True, timeout=10)
        ledger = sqlite3.connect(f"file:{self._gateway.data / 'ledger.db'}?mode=ro", uri=True, timeout=10)
        try:
            filed = connection.execute("SELECT cursor FROM follower").fetchone()
            last = ledger.execute("SELECT max(id) FROM message").fetchone()
        finally:
            connection.close()
            ledger.close()
        return (last[0] or 0) <= (filed[0] if filed else 0)

    def _words(self) -> str:
        return f"{self._points}\n{self._gateway.totals()}\n{self._gateway.log()}"

    # ── what the next hop got ──

    def _arrivals(self) -> list[str]:
        letters = {letter.number: letter for letter in self._witness.letters}
        clear: Counter[tuple[int, str]] = Counter()
        marked: Counter[tuple[int, str]] = Counter()
        problems: list[str] = []
        for taken in self._hop.messages:
            found = MARK.search(taken.content)
            letter = letters.get(int(found.group(1))) if found is not None else None
            if letter is None:
                problems.append(f"the next hop got something that nobody wrote: {taken.content[:80]!r}")
                continue
            if without_ours(taken.content) != letter.content:
                problems.append(f"letter {letter.number} arrived changed")
            counts = marked if b"Stormsail-Repeat: " in taken.content.partition(b"\r\n\r\n")[0] else clear
            counts.update((letter.number, to) for to in taken.recipients)
        return [*problems, *self._missing_or_double(letters.values(), clear, marked)]

    def _missing_or_double(
        self, letters: Iterable[Letter], clear: Counter[tuple[int, str]], marked: Counter[tuple[int, str]]
    ) -> list[str]:
        problems: list[str] = []
        for letter in letters:
            for to in letter.recipients:
                here, again = clear[letter.number, to], marked[letter.number, to]
                if letter.answered and here + again == 0:
                    problems.append(f"letter {letter.number} for {to} was answered 250 and is lost")
                if here > 1:
                    problems.append(f"letter {letter.number} for {to} arrived {here} times without a mark")
                if again > self.lives:
                    problems.append(f"letter {letter.number} for {to}: {again} marked copies in {self.lives} lives")
        return problems

    # ── what people see ──

    def _copies(self) -> list[str]:
        problems: list[str] = []
        people = sorted({to for letter in self._witness.letters for to in letter.recipients})
        for address in people:
            wanted = {letter.number: letter for letter in self._witness.letters if address in letter.recipients}
            problems += self._copies_of(address, wanted)
        return problems

    def _copies_of(self, address: str, wanted: dict[int, Letter]) -> list[str]:
        problems: list[str] = []
        have: Counter[int] = Counter()
        for raw in self.raw_messages(address):
            found = MARK.search(raw)
            number = int(found.group(1)) if found is not None else -1
            have[number] += 1
            if number not in wanted:
                problems.append(f"{address} has a copy that nobody wrote to them: {raw[:80]!r}")
            elif without_ours(raw.partition(b"\r\n")[2]) != wanted[number].content:
                problems.append(f"the copy of letter {number} for {address} is changed")
        for number, letter in wanted.items():
            if have[number] > 1 or (letter.answered and not have[number]):
                problems.append(f"{address} has {have[number]} copies of letter {number}")
        return problems

    def raw_messages(self, address: str) -> list[bytes]:
        """The source of every message in the mailbox, by the API."""
        with self._gateway.as_person(self._token(address)) as person:
            ids: list[str] = []
            before: dict[str, Any] = {}
            while True:
                page = person.get(f"/mailboxes/{address}/messages", params={"limit": 500, **before}).json()
                ids += [one["id"] for one in page["messages"]]
                if not page["next"]:
                    break
                before = {"before": page["next"]}
            return [person.get(f"/messages/{one}/raw").content for one in ids]

    def _token(self, address: str) -> str:
        existing = [one["address"] for one in self._gateway.api("GET", "/accounts")["accounts"]]
        if address not in existing:
            self._gateway.api("POST", "/accounts", json={"address": address, "role": "staff", "password": PASSWORD})
        url = f"http://127.0.0.1:{self._gateway.http}/api/v1/session"
        answer = httpx.post(url, json={"address": address, "password": PASSWORD}, timeout=20)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["token"])


def without_ours(content: bytes) -> bytes:
    """The content behind the fields that we put on top."""
    found = OURS.match(content)
    return content[found.end() :] if found is not None else content
