"""One item of what is stored is damaged while the gateway is down: it starts, names the item, and keeps all the rest.

What the ledger and the bodies say is delivered and readable; what is made from them is made again (DESIGN §6).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from testkit.checker import without_ours
from testkit.correspondent import mark_of
from testkit.damage import Damage, changed, cut, cut_behind, garbled, garbled_behind, garbled_page, removed
from testkit.gateway import Gateway, message, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.ports import free_port
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
ANN = "ann@example.com"
SMALL, LARGE = 6, 6
"""Messages 0 to 5 lie in a segment, message 6 in a file of its own."""
PATIENCE_S = 30


def content_of(number: int) -> bytes:
    text = f"Words of number {number}\n" + ("and many more\n" * 20_000 if number == LARGE else "")
    return mark_of(number) + message(f"letter {number}", text)


@dataclass
class Stored:
    """What lies on the disk, after a kill and after a clean stop; the ids of its messages and a reader's token."""

    killed: Path
    stopped: Path
    ids: list[str]
    token: str


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Seven messages that the primary has not taken yet, all copied and searchable."""
    folder = tmp_path_factory.mktemp("stored")
    with running_gateway(primary=free_port()) as gateway:
        token = gateway.add_account(ANN)
        ids = [gateway.send(ANN, content_of(number)).rpartition(" ")[2] for number in range(SMALL + 1)]
        gateway.wait_for(deferred=SMALL + 1)
        wait_until(lambda: len(found(gateway, token)) == SMALL + 1, "all to be searchable", PATIENCE_S, gateway.log)
        gateway.kill()
        shutil.copytree(gateway.data, folder / "killed", ignore=shutil.ignore_patterns("*.sock"))
        gateway.start()
        assert gateway.stop() == 0
        shutil.copytree(gateway.data, folder / "stopped", ignore=shutil.ignore_patterns("*.sock"))
    return Stored(folder / "killed", folder / "stopped", ids, token)


@dataclass(frozen=True)
class Case:
    """A file, what is done to it, and which messages cannot be whole any more."""

    file: str
    damage: Damage
    words: str
    hurt: tuple[int, ...] = ()
    ended: str = "stopped"

    def __str__(self) -> str:
        return f"{self.file} {self.words}"


SHORT = [
    Case("bodies/*/s-*", garbled_behind(mark_of(2)), "garbled in message 2", (2,)),
    Case("bodies/*/s-*", cut_behind(mark_of(5)), "cut in message 5", (5,)),
    Case("bodies/*/m-*", cut(0.5), "cut", (LARGE,)),
    Case("bodies/*/m-*", removed, "removed", (LARGE,)),
    Case("ledger.db-wal", garbled(0.3), "garbled", ended="killed"),
    Case("ledger.db-wal", removed, "removed", ended="killed"),
    Case("mail.db-wal", garbled(0.3), "garbled", ended="killed"),
    Case("search-*.db", garbled(0.5, 4096), "garbled page"),
    Case("mail.db", cut(0.5), "cut"),
    Case("mail.db", garbled_page("copy"), "garbled copy"),
    Case("mail.db", garbled_page("mailbox"), "garbled mailbox"),
]
PAGES = [
    "folder",
    "follower",
    "message",
    "message_by_day",
    "copy_once",
    "copy_uid",
    "copy_in_folder",
    "copy_in_mailbox",
]
FURTHER = [
    Case("bodies/*/m-*", garbled(0.0, 4), "garbled header", (LARGE,)),
    Case("mail.db-wal", removed, "removed", ended="killed"),
    Case("mail.db", garbled(0.0, 100), "garbled header"),
    Case("search-*.db", garbled(0.0, 100), "garbled header"),
    Case("search-*.db", cut(0.5), "cut"),
    Case("search-*.db-wal", cut(0.5), "cut", ended="killed"),
    *(Case("mail.db", garbled_page(name), f"garbled {name}") for name in PAGES),
    *(Case("ledger.db-wal", cut(share / 8), f"cut to {share}/8", ended="killed") for share in range(1, 8)),
    *(Case("mail.db-wal", cut(share / 8), f"cut to {share}/8", ended="killed") for share in range(1, 8)),
]


@contextmanager
def damaged(stored: Stored, case: Case) -> Iterator[tuple[Gateway, NextHop]]:
    """A gateway that is started on the damaged data; the primary is well now."""
    with next_hop() as hop, running_gateway(primary=hop.port, started=False) as gateway:
        shutil.copytree(stored.killed if case.ended == "killed" else stored.stopped, gateway.data)
        [file] = gateway.data.glob(case.file)
        case.damage(file)
        gateway.start()
        yield gateway, hop


@pytest.mark.parametrize("case", [*SHORT, *(FURTHER if FULL else [])], ids=str)
def test_a_damaged_item_is_named_or_made_again_and_the_rest_is_delivered_and_read(stored: Stored, case: Case) -> None:
    whole = set(range(SMALL + 1)) - set(case.hurt)
    with damaged(stored, case) as (gateway, hop):
        await_relay(gateway, hop, whole)
        wait_until(lambda: read(gateway, stored) >= whole, "the rest to be readable", PATIENCE_S, gateway.log)
        assert read(gateway, stored) == whole
        if not case.hurt:
            wait_until(lambda: found(gateway, stored.token) == whole, "the search", PATIENCE_S, gateway.log)
        differences = gateway.api("GET", "/ledger/check")["differences"]
        assert len(differences) == len(case.hurt), differences
        assert all(stored.ids[number] in "".join(differences) for number in case.hurt), differences
        assert gateway.stop() == 0


ROWS = {
    "message 3 is gone": "DELETE FROM message WHERE id = (SELECT id FROM message ORDER BY id LIMIT 1 OFFSET 3)",
    "the delivery of message 3 is gone": "DELETE FROM delivery WHERE message_id ="
    " (SELECT id FROM message ORDER BY id LIMIT 1 OFFSET 3)",
    "message 3 has another size": "UPDATE message SET size = size + 1 WHERE id ="
    " (SELECT id FROM message ORDER BY id LIMIT 1 OFFSET 3)",
}


@pytest.mark.parametrize("words", ROWS)
def test_a_damaged_row_of_the_ledger_is_named_and_the_rest_is_delivered_and_read(stored: Stored, words: str) -> None:
    whole = set(range(SMALL + 1)) - {3}
    with damaged(stored, Case("ledger.db", changed(ROWS[words]), words)) as (gateway, hop):
        await_relay(gateway, hop, whole)
        assert read(gateway, stored) >= whole
        done = gateway.cli("ledger", "check")
        assert done.returncode != 0
        assert stored.ids[3] in done.stdout.decode() + done.stderr.decode()
        assert gateway.stop() == 0


def test_a_broken_ledger_is_refused_with_a_sentence_and_left_as_it_is(stored: Stored) -> None:
    with running_gateway(primary=free_port(), started=False) as gateway:
        shutil.copytree(stored.stopped, gateway.data)
        ledger = gateway.data / "ledger.db"
        garbled(0.0, 100)(ledger)
        before = ledger.read_bytes()
        with pytest.raises(AssertionError, match="did not start"):
            gateway.start()
        assert gateway.wait() == 1
        assert "ledger.db" in gateway.log()
        assert "Traceback" not in gateway.log()
        assert ledger.read_bytes() == before


def await_relay(gateway: Gateway, hop: NextHop, whole: set[int]) -> None:
    """Each of these arrives once, byte for byte; what cannot be whole is not sent at all."""
    wait_until(
        lambda: {number_of(one.content) for one in hop.taken} >= whole,
        "the rest to be relayed", PATIENCE_S, lambda: f"{gateway.totals()}\n{gateway.log()}",
    )  # fmt: skip
    assert sorted(number_of(one.content) for one in hop.messages) == sorted(whole)
    assert all(without_ours(one.content) == content_of(number_of(one.content)) for one in hop.messages)


def number_of(content: bytes) -> int:
    return int(content.partition(b"X-Letter: ")[2][:6])


def read(gateway: Gateway, stored: Stored) -> set[int]:
    """The numbers of the messages that a person finds in their mailbox and can read to the last octet."""
    with gateway.as_person(stored.token) as person:
        listed = person.get(f"/mailboxes/{ANN}/messages", params={"limit": 100})
        if listed.status_code != 200:
            return set()
        sources = [person.get(f"/messages/{one['id']}/raw") for one in listed.json()["messages"]]
    numbers = [number_of(one.content) for one in sources if one.status_code == 200]
    assert len(set(numbers)) == len(numbers), f"copies are there twice: {numbers}"
    return set(numbers)


def found(gateway: Gateway, token: str) -> set[int]:
    """The numbers of the messages that a search for their common words finds."""
    with gateway.as_person(token) as person:
        answer = person.get(f"/mailboxes/{ANN}/messages", params={"limit": 100, "q": "words number"})
    subjects = [one["subject"] for one in answer.json()["messages"]] if answer.status_code == 200 else []
    return {int(one.removeprefix("letter ")) for one in subjects}
