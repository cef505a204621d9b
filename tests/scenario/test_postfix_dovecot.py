"""Between real servers: Postfix outside, the gateway, Postfix as primary, Dovecot with the mailboxes behind it.

Everything is compared byte for byte with what was written, behind the fields that servers put on top on the way.
"""

from __future__ import annotations

import re
import smtplib
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from testkit.dovecot import Dovecot, running_dovecot
from testkit.gateway import Gateway, running_gateway
from testkit.ports import free_port
from testkit.postfix import Postfix, primary_for, running_postfix, sender_to
from testkit.waiting import wait_until

ANN, BOB, FRIEND = "ann@example.com", "bob@example.com", "friend@example.net"
STAFF = [f"staff{number:02d}@example.com" for number in range(20)]
MESSAGES = 5000
SESSIONS = 4
QUEUE_ID = re.compile(rb"\r\n\tby primary\.test \(Postfix\) with E?SMTP id ([0-9A-Za-z]+)")
WHEN = 10
"""Letters of a long queue id that say when it was given, in alphabetical order."""
OUR_ID = re.compile(rb"\r\n\tby mx\.example\.com with ESMTP id (\w+)")
NUMBER = re.compile(rb"\r\nX-Number: (\d+)\r\n")


@dataclass(frozen=True)
class World:
    """All servers, each knowing its neighbours."""

    outside: Postfix
    gateway: Gateway
    primary: Postfix
    mailboxes: Dovecot


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    people = [ANN, BOB, *STAFF]
    primary_port, outside_port = free_port(), free_port()
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(primary=primary_port, outside=outside_port, started=False))
        dovecot = stack.enter_context(running_dovecot(people))
        mark = "regexp:{{/^Subject: answer/ PREPEND X-OriginatorOrg: example.com}}"
        inside = primary_for(
            ["example.com"], people, lmtp=dovecot.lmtp_port, myhostname="primary.test", enable_long_queue_ids="yes",
            relayhost=f"[127.0.0.1]:{gateway.connector}", smtp_header_checks=mark, queue_run_delay="1s",
        )  # fmt: skip
        outer = {**primary_for(["example.net"], [FRIEND]), **sender_to(gateway.mx)}
        primary = stack.enter_context(running_postfix(inside, port=primary_port))
        outside = stack.enter_context(running_postfix(outer, port=outside_port))
        drain = "[primary.drain]\nmessages_per_mailbox_hour = 0"
        gateway.configure(primary=primary_port, outside=outside_port, primary_more=drain)
        rows = [f"{one},{one.partition('@')[0]},leeds,mailbox,," for one in people]
        (gateway.folder / "mailboxes.csv").write_text(
            "\n".join(["address,name,segment,kind,aliases,members", *rows, ""])
        )
        gateway.start()
        yield World(outside, gateway, primary, dovecot)


def letter(author: str, to: str, subject: str, text: bytes) -> bytes:
    head = (
        f"From: {author}\r\nTo: {to}\r\nSubject: {subject}\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{subject}@{author.partition('@')[2]}>\r\n\r\n"
    )
    return head.encode() + text


def post(port: int, reverse_path: str, to: str, content: bytes) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail(reverse_path, [to], content)


def test_letters_pass_both_ways_through_the_primarys_own_connector(world: World) -> None:
    text = b"caf\xe9\r\n.\r\n..dots\r\n" + bytes(range(32, 256)) + b"\r\n\r\nlast\r\n"
    question = letter(FRIEND, ANN, "question", text)
    post(world.outside.port, FRIEND, ANN, question)
    wait_until(lambda: world.mailboxes.count(ANN), "the question", 30, world.gateway.log)
    [received] = world.mailboxes.messages(ANN)
    assert received.endswith(question)
    answer = letter(ANN, FRIEND, "answer", text)
    post(world.primary.port, ANN, FRIEND, answer)
    wait_until(lambda: world.outside.messages(FRIEND), "the answer", 30, world.gateway.log)
    [received] = world.outside.messages(FRIEND)
    marked = answer.replace(b"Subject: ", b"X-OriginatorOrg: example.com\r\nSubject: ", 1)
    assert received.replace(b"\n", b"\r\n").endswith(marked)
    with world.gateway.as_person(world.gateway.add_account(ANN)) as ann:

        def copies() -> dict[str, bytes]:
            listed = ann.get(f"/mailboxes/{ANN}/messages").json()["messages"]
            return {one["folder"]: ann.get(f"/messages/{one['id']}/raw").content for one in listed}

        wait_until(lambda: set(copies()) == {"inbox", "sent"}, "both copies")
        assert copies()["inbox"].endswith(question)
        assert copies()["sent"].endswith(marked)
    world.gateway.assert_sound()


def test_a_letter_without_the_organisations_mark_comes_back_to_its_author(world: World) -> None:
    before = world.outside.messages(FRIEND)
    post(world.primary.port, BOB, FRIEND, letter(BOB, FRIEND, "unmarked", b"hello\r\n"))
    wait_until(lambda: world.mailboxes.count(BOB), "the notice to Bob", 30, world.primary.log)
    [notice] = world.mailboxes.messages(BOB)
    assert b"550 5.7.1" in notice
    assert world.outside.messages(FRIEND) == before


# ── five thousand ──


def mixed(number: int) -> bytes:
    """A message of its own, of 200 octets to half a megabyte."""
    size = 200 + number * 7919 % 9000
    if number % 100 == 99:
        size = 120_000
    if number % 500 == 499:
        size = 500_000
    line = f"{number:05d} ".encode() + bytes(33 + (number + place) % 94 for place in range(60)) + b" \xe4\r\n"
    extra = f"X-Number: {number}\r\n".encode()
    return extra + letter("x@example.org", STAFF[number % 20], f"m{number}", b".dot\r\n" + line * (size // len(line)))


def hand_in(port: int, numbers: Sequence[int]) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        for number in numbers:
            client.sendmail("x@example.org", [STAFF[number % 20]], mixed(number))


def hand_in_all(port: int) -> None:
    """Each mailbox's messages in one session, one after the other."""
    people = [
        [number for number in range(MESSAGES) if number % 20 % SESSIONS == session] for session in range(SESSIONS)
    ]
    threads = [threading.Thread(target=hand_in, args=(port, numbers)) for numbers in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()


def test_five_thousand_letters_held_while_the_primary_is_away_come_back_whole_and_in_order(world: World) -> None:
    gateway, primary = world.gateway, world.primary
    before = gateway.totals().get("relayed", 0)
    event = str(gateway.cli_json("activate", "--scope", "all", "--reason", "the primary is away")["id"])
    primary.stop()
    hand_in_all(world.outside.port)
    wait_until(lambda: gateway.totals().get("held") == MESSAGES, "all to be held", 90, lambda: str(gateway.totals()))
    refused = gateway.cli("end", event)
    assert refused.returncode == 1, "the primary is not there"
    primary.restart()
    ended = gateway.cli("end", event)
    assert ended.returncode == 0, ended.stderr.decode()
    wait_until(lambda: gateway.totals().get("relayed") == before + MESSAGES, "all to be handed back", 90, gateway.log)
    wait_until(lambda: sum(map(world.mailboxes.count, STAFF)) >= MESSAGES, "all to be in Dovecot", 90, primary.log)
    report = gateway.cli_json("report", event)
    assert report["balanced"]
    assert (report["balance"]["came_in"], report["balance"]["handed_back"]) == (MESSAGES, MESSAGES)
    for place, person in enumerate(STAFF):
        compare(world.mailboxes.messages(person), list(range(place, MESSAGES, 20)))
    gateway.assert_sound()


def compare(received: list[bytes], wanted: list[int]) -> None:
    """Every message once, unchanged, and handed to the primary in the order in which we had taken them."""
    numbers: list[int] = []
    handed: list[tuple[bytes, bytes]] = []
    for raw in received:
        found = NUMBER.search(raw)
        assert found is not None
        number = int(found.group(1))
        numbers.append(number)
        assert raw.endswith(mixed(number)), f"message {number} is changed"
        queue_id = QUEUE_ID.search(raw)
        assert queue_id is not None
        ours = OUR_ID.search(raw)
        assert ours is not None
        handed.append((queue_id.group(1)[:WHEN], ours.group(1)))
    assert sorted(numbers) == wanted
    assert [own for _, own in sorted(handed)] == sorted(own for _, own in handed)
