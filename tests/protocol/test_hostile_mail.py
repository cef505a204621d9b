"""Hostile and difficult mail goes through accept, relay, copy, view and drain unchanged, and harms nobody else.

In: the corpus of difficult messages (STORMSAIL_CORPUS, or `shared/corpus` beside the repository) and generated bombs.
DESIGN §3.2, §3.11, §3.12; RFC 5321 §2.3.8, §6.3.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from testkit.bombs import BOMBS, many_authors
from testkit.gateway import Gateway, running_gateway
from testkit.mailbox_copies import corpus
from testkit.next_hop import NextHop, next_hop
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

BOX = "ann@example.com"
LONE_LF = re.compile(rb"(?<!\r)\n")
DIGEST_S = 4
MEMORY_MIB = 400
"""What the main process may have needed at most; it parses nothing."""
STALL_S = 2.5
"""How long anybody else may have to wait for the gateway meanwhile."""


@dataclass
class Specimen:
    """A message, what was said to it, and what has to arrive."""

    name: str
    wire: bytes
    reply: str = ""
    number: int = 0

    @property
    def refused(self) -> bool:
        """Whether no server may take it."""
        return b"\0" in self.wire or b"\r" in self.wire.replace(b"\r\n", b"")

    @property
    def sent(self) -> bytes:
        """The lines as they are sent: the last one has to end with CRLF."""
        return self.wire if self.wire.endswith(b"\r\n") or not self.wire else self.wire + b"\r\n"

    @property
    def expected(self) -> bytes:
        return LONE_LF.sub(b"\r\n", self.sent)

    @property
    def to(self) -> str:
        """An address of its own, by which it is known everywhere."""
        return f"ann+{self.number}@example.com"


@dataclass
class Zoo:
    """Everything that was sent, and what the gateway was like meanwhile."""

    gateway: Gateway
    primary: NextHop
    specimens: list[Specimen] = field(default_factory=list)
    longest_wait_s: float = 0.0

    @property
    def accepted(self) -> list[Specimen]:
        return [one for one in self.specimens if not one.refused]

    def arrived(self) -> dict[str, bytes]:
        return {to: one.content for one in self.primary.taken for to in one.recipients}


def hand_in(talk: SmtpTalk, specimen: Specimen) -> str:
    talk.data(specimen.to)
    dotted = specimen.sent.replace(b"\r\n.", b"\r\n..")
    talk.send((b"." + dotted if dotted.startswith(b".") else dotted) + b".\r\n")
    return talk.reply()


class Bystander(threading.Thread):
    """Somebody else who wants a word with the gateway all the time."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._over = threading.Event()
        self.longest_s = 0.0

    def run(self) -> None:
        with SmtpTalk(self._port, source="127.0.0.3") as talk:
            talk.hello()
            while not self._over.wait(0.05):
                began = time.monotonic()
                talk.ask("NOOP")
                self.longest_s = max(self.longest_s, time.monotonic() - began)

    def stop(self) -> float:
        self._over.set()
        self.join(30)
        return self.longest_s


@pytest.fixture(scope="module")
def zoo() -> Iterator[Zoo]:
    with next_hop() as primary, running_gateway(primary=primary.port, started=False) as gateway:
        limits = f"disk_reserve = 1048576\ndigest_seconds = {DIGEST_S}"
        gateway.configure(primary=primary.port, outside=primary.port, limits=limits)
        gateway.start()
        zoo = Zoo(gateway, primary)
        messages = [(name, make()) for name, make in BOMBS.items()]
        messages += [(path.name, path.read_bytes()) for path in corpus()]
        bystander = Bystander(gateway.mx)
        bystander.start()
        with SmtpTalk(gateway.mx, timeout_s=60) as talk:
            talk.hello()
            for number, (name, wire) in enumerate(messages):
                specimen = Specimen(name, wire, number=number)
                specimen.reply = hand_in(talk, specimen)
                zoo.specimens.append(specimen)
            talk.ask("QUIT")
        wait_until(lambda: len(zoo.arrived()) == len(zoo.accepted), "all to be relayed", 60, gateway.log)
        zoo.longest_wait_s = bystander.stop()
        yield zoo


@pytest.fixture(scope="module")
def ann(zoo: Zoo) -> Iterator[httpx.Client]:
    with zoo.gateway.as_person(zoo.gateway.add_account(BOX)) as person:
        person.timeout = httpx.Timeout(60)
        yield person


def test_the_corpus_is_there() -> None:
    if not corpus():
        pytest.skip("the corpus of difficult messages is not on this machine (STORMSAIL_CORPUS)")
    assert len(corpus()) > 100


def test_only_what_no_server_may_take_is_refused_and_that_for_good(zoo: Zoo) -> None:
    wrong = {one.name: one.reply for one in zoo.specimens if one.reply[:3] != ("554" if one.refused else "250")}
    assert not wrong


def test_what_was_taken_is_relayed_byte_for_byte(zoo: Zoo) -> None:
    arrived = zoo.arrived()
    changed = [one.name for one in zoo.accepted if without_ours(arrived[one.to]) != one.expected]
    assert not changed


def without_ours(content: bytes) -> bytes:
    """The content behind the fields that we put on top, which end with Stormsail-Trace."""
    lines = content.split(b"\r\n", 12)
    trace = next(number for number, line in enumerate(lines) if line.startswith(b"Stormsail-Trace: v1; "))
    return b"\r\n".join(lines[trace + 1 :])


def test_nobody_else_had_to_wait_for_long(zoo: Zoo) -> None:
    assert zoo.longest_wait_s < STALL_S


def listed(ann: httpx.Client) -> list[dict[str, Any]]:
    """All messages of the mailbox; none is being prepared any more."""

    def ready() -> list[dict[str, Any]] | None:
        messages = list(ann.get(f"/mailboxes/{BOX}/messages", params={"limit": 1000}).json()["messages"])
        return None if any(one["state"] == "preparing" for one in messages) else messages

    return wait_until(ready, "every message to be prepared", 120) or []


def test_everything_is_listed_and_its_source_can_be_downloaded(zoo: Zoo, ann: httpx.Client) -> None:
    messages = listed(ann)
    assert len(messages) == len(zoo.accepted)
    assert {one["state"] for one in messages} <= {"ready", "unreadable"}
    sources = sorted(ann.get(f"/messages/{one['id']}/raw").content for one in messages)
    assert sorted(without_ours(source) for source in sources) == sorted(one.expected for one in zoo.accepted)


def test_everything_can_be_looked_at_with_all_its_attachments(ann: httpx.Client) -> None:
    for one in listed(ann):
        answer = ann.get(f"/messages/{one['id']}")
        assert answer.status_code == 200, (one["subject"], answer.text[:300])
        view = answer.json()
        assert "<script" not in view["html"].lower()
        assert "javascript:" not in view["html"].lower()
        for attachment in view["attachments"][:20]:
            part = ann.get(f"/messages/{one['id']}/attachments/{attachment['part']}")
            assert part.status_code == 200, (one["subject"], attachment)
            assert "attachment" in part.headers["content-disposition"]


def test_what_comes_from_outside_is_shown_without_control_characters(zoo: Zoo, ann: httpx.Client) -> None:
    control = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
    for one in listed(ann):
        for name in ("subject", "from", "preview", "message_id"):
            assert not control.search(one[name]), (name, one[name][:100])
    assert not control.search(zoo.gateway.log().replace("\t", " "))


def test_searching_in_all_this_finds_and_breaks_nothing(ann: httpx.Client) -> None:
    for words in ("bottom", "klingon", '"', "a*", "NEAR(", "x" * 5000, "%00", "İ", "''--", "subject:x OR", "-", "()"):
        answer = ann.get(f"/mailboxes/{BOX}/messages", params={"q": words, "limit": 5})
        assert answer.status_code in (200, 400), (words, answer.text)


def test_memory_stays_bounded(zoo: Zoo, ann: httpx.Client) -> None:
    listed(ann)
    status = Path(f"/proc/{zoo.gateway.pid}/status").read_text()
    most = int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) >> 10  # type: ignore[union-attr]
    assert most < MEMORY_MIB, f"{most} MiB"


def test_after_an_event_everything_is_handed_back_unchanged(zoo: Zoo, ann: httpx.Client) -> None:
    gateway, primary = zoo.gateway, zoo.primary
    listed(ann)
    primary.server.messages.clear()
    event = gateway.api("POST", "/events", json={"scope": "all", "reason": "zoo"})["id"]
    with SmtpTalk(gateway.mx, timeout_s=60) as talk:
        talk.hello()
        for specimen in zoo.accepted:
            assert hand_in(talk, specimen).startswith("250"), specimen.name
    count = len(zoo.accepted)
    wait_until(lambda: gateway.totals().get("held") == count, "all to be held", 60, gateway.log)
    assert not primary.messages
    gateway.configure(
        primary=primary.port, outside=primary.port, primary_more="[primary.drain]\nmessages_per_mailbox_hour = 0"
    )
    gateway.api("POST", "/reload")
    gateway.api("POST", f"/events/{event}/end", json={"force": False})
    wait_until(lambda: gateway.totals() == {"relayed": 2 * count}, "all to be handed back", 60, gateway.log)
    arrived = zoo.arrived()
    changed = [one.name for one in zoo.accepted if without_ours(arrived[one.to]) != one.expected]
    assert not changed
    assert len(primary.taken) == count
    gateway.assert_sound()


def test_a_message_that_has_passed_too_many_hosts_is_refused(zoo: Zoo) -> None:
    """RFC 5321 §6.3: at least a hundred Received fields; more are a loop."""
    with SmtpTalk(zoo.gateway.mx) as talk:
        talk.hello()
        for count, code in ((100, "250"), (101, "554 5.4.6"), (50_000, "554 5.4.6")):
            wire = b"Received: from a by b; today\r\n" * count + b"\r\nbody\r\n"
            assert hand_in(talk, Specimen("loop", wire, number=9000 + count)).startswith(code), count


def test_a_header_with_one_field_tens_of_thousands_of_times_is_refused_at_once(zoo: Zoo) -> None:
    with SmtpTalk(zoo.gateway.mx) as talk:
        talk.hello()
        began = time.monotonic()
        assert hand_in(talk, Specimen("authors", many_authors(50_000), number=9999)).startswith("554")
        assert time.monotonic() - began < STALL_S


def test_a_header_that_comes_in_small_pieces_costs_no_more_than_one_in_large_pieces(zoo: Zoo) -> None:
    bystander = Bystander(zoo.gateway.mx)
    bystander.start()
    line = b"X-Line: " + b"x" * 60 + b"\r\n"
    with SmtpTalk(zoo.gateway.mx, timeout_s=60) as talk:
        talk.hello().data(BOX)
        began = time.monotonic()
        for _ in range(4000):
            talk.send(line * 20)
        assert talk.ask(b"\r\nbody\r\n.").startswith("250")
        assert time.monotonic() - began < 10
    assert bystander.stop() < STALL_S
