"""The demo's parts that need no process: letters that real programs can read, hints, faults, the directory."""

from __future__ import annotations

import random
from email import message_from_bytes
from email.header import decode_header, make_header
from pathlib import Path

import pytest
from aiosmtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)

from stormsail.demo.attachments import make_attachment
from stormsail.demo.console import printable
from stormsail.demo.faults import Faults, unseen
from stormsail.demo.letters import Letter, Writer, alarm, answer_to, colleagues_letter, first_letter, newsletter
from stormsail.demo.outside import WRITERS, in_words
from stormsail.demo.people import DOMAIN, OTHERS, PEOPLE, SEGMENTS, directory_csv
from stormsail.demo.scoreboard import Scoreboard
from stormsail.demo.situation import Commands, Phase, Situation, hints, relapse, sum_up
from stormsail.demo.texts import LANGUAGES
from stormsail.directory import DomainRule
from stormsail.directory.importing import plan_import
from stormsail.wire import DirectoryState, Event, QueueCounts, Readiness, Status, Totals

AMELIA = PEOPLE[0]
ANN = Writer(AMELIA.name, AMELIA.address)
COMMANDS = Commands("stormsail", "stormsail.toml", "")


def text_of(letter: Letter) -> str:
    """The plain text as the reader sees it."""
    for part in message_from_bytes(letter.content).walk():
        if part.get_content_type() == "text/plain":
            payload = part.get_payload(decode=True)
            assert isinstance(payload, bytes)
            return payload.decode(part.get_content_charset("ascii")).replace("\r\n", "\n")
    raise AssertionError("the letter has no plain text")


def status_with(*events: Event) -> Status:
    return Status(
        version="1",
        hostname="mx",
        at="",
        uptime_s=1,
        verdicts=[],
        events=list(events),
        queue=QueueCounts(),
        totals=Totals(),
        directory=DirectoryState(mailboxes=1, segments=1, age_s=1),
        alerts=[],
        readiness=Readiness(people=1, can_sign_in=1, push_proven=0),
        own_health=[],
    )


def event(scope: str, state: str) -> Event:
    return Event(
        id="e1", scope=scope, state=state, started_at="", started_by="", reason="", held=0, handed_back=0, eta_s=None
    )


def test_the_organisation_is_a_directory_without_a_mistake_or_warning() -> None:
    plan = plan_import(directory_csv(), "file", {}, [DomainRule(DOMAIN, "sandbox", "verify")], force=False)
    assert len(plan.entries) == len(PEOPLE) + len(OTHERS)
    assert plan.warnings == ()
    assert {person.segment for person in PEOPLE} == set(SEGMENTS)


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_every_opening_and_answer_can_be_read_in_its_charset(language: str) -> None:
    chance = random.Random(1)
    writer = Writer("Ada Byron", "ada@example.org", language)
    for _ in range(20):
        letter = first_letter(writer, ANN, chance)
        message = message_from_bytes(letter.content)
        assert text_of(letter).strip() == letter.text.strip()
        assert str(make_header(decode_header(message["Subject"]))) == letter.subject
        assert "{" not in letter.text
        answer = answer_to(letter, ANN, chance)
        assert message_from_bytes(answer.content)["In-Reply-To"] == letter.message_id
        assert letter.text.splitlines()[0] in text_of(answer)


def test_an_answer_to_an_answer_keeps_the_whole_thread() -> None:
    chance = random.Random(2)
    first = first_letter(WRITERS[0], ANN, chance)
    second = answer_to(first, ANN, chance)
    third = answer_to(second, WRITERS[0], chance)
    assert third.references == (first.message_id, second.message_id)
    assert third.subject == f"Re: {first.subject}"
    assert third.recipients == (ANN.address,)


def test_a_text_with_braces_can_be_quoted() -> None:
    odd = Letter(WRITERS[0], ANN, (ANN.address,), "odd", "a {name} {0} }{", b"", "<1@x>")
    assert "> a {name} {0} }{" in text_of(answer_to(odd, ANN, random.Random(3)))


def test_a_newsletter_comes_from_a_bounce_address_and_loads_pictures_from_elsewhere() -> None:
    letter = newsletter(ANN, random.Random(4))
    assert letter.author.address.startswith("bounce-")
    assert message_from_bytes(letter.content)["List-Id"]
    assert b"https://" in letter.content


def test_a_device_sends_the_same_bytes_every_time() -> None:
    assert alarm(ANN).content == alarm(ANN).content
    assert b"\r\n\r\n" in alarm(ANN).content


def test_colleagues_write_about_work() -> None:
    letter = colleagues_letter(ANN, Writer("Tom Bradley", PEOPLE[3].address), random.Random(5))
    assert letter.recipients == (PEOPLE[3].address,)


@pytest.mark.parametrize(
    ("name", "begin"),
    [("a.pdf", b"%PDF-1.4"), ("a.png", b"\x89PNG"), ("a.csv", b"item;"), ("a.ics", b"BEGIN:VCALENDAR"), ("a.bin", b"")],
)
def test_attachments_are_what_their_names_say(name: str, begin: bytes) -> None:
    made = make_attachment(name, "A title", random.Random(6))
    assert made.content.startswith(begin)
    assert len(made.content) > 100


def test_nothing_that_comes_in_moves_the_cursor() -> None:
    assert printable("a\x1b[31mb\u202ec\n") == "a?[31mb?c?"


def test_the_story_knows_where_it_is_and_what_comes_next() -> None:
    broken = Faults().with_broken("segment:leeds")
    situations = {
        Phase.WELL: Situation(Faults(), status_with()),
        Phase.SICK: Situation(broken, status_with()),
        Phase.TAKEN_OVER: Situation(broken, status_with(event("all", "active"))),
        Phase.MENDED: Situation(Faults(), status_with(event("all", "active"))),
        Phase.HANDING_BACK: Situation(Faults(), status_with(event("all", "draining"))),
    }
    for phase, situation in situations.items():
        assert situation.phase is phase
    said = {phase: " ".join(hints(situation, COMMANDS)) for phase, situation in situations.items()}
    assert "demo break all" in said[Phase.WELL]
    assert "activate --scope segment:leeds" in said[Phase.SICK]
    assert "demo heal" in said[Phase.TAKEN_OVER]
    assert "end e1" in said[Phase.MENDED]
    assert "report e1" in said[Phase.HANDING_BACK]


@pytest.mark.parametrize("kind", ["mailbox", "identity", "outbound"])
def test_a_fault_that_the_gateway_cannot_see_is_named_once_with_what_to_look_at(kind: str) -> None:
    broken = Faults().with_broken(kind)
    (words,) = unseen(Faults(), broken)
    assert "The gateway cannot see it" in words
    assert "Look at" in words
    assert unseen(broken, broken) == unseen(broken, Faults()) == unseen(Faults(), broken.with_broken("all")) == []


def test_a_fault_that_the_gateway_sees_needs_no_further_words() -> None:
    for kind in ("inbound", "bounce", "all", "segment:leeds"):
        assert unseen(Faults(), Faults().with_broken(kind)) == []


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SMTPAuthenticationError(454, "4.7.0 Temporary\nfailure"), "454 4.7.0 Temporary failure"),
        (SMTPRecipientsRefused([SMTPRecipientRefused(451, "4.3.2 STOREDRV", "liam@x")]), "451 4.3.2 STOREDRV"),
        (SMTPSenderRefused(451, "4.3.2 STOREDRV", "liam@x"), "451 4.3.2 STOREDRV"),
        (SMTPConnectError("Error connecting to 127.0.0.1: [Errno 111]"), "Error connecting to 127.0.0.1"),
    ],
)
def test_a_refusal_is_told_as_the_server_said_it(error: Exception, words: str) -> None:
    assert in_words(error) == words


def test_a_relapse_says_why_the_event_is_active_again_and_what_to_run() -> None:
    words = relapse(event("all", "active"), COMMANDS)
    assert "the primary failed again during the handing back" in words
    assert "stormsail end e1" in words


def test_the_figures_say_what_they_count() -> None:
    assert sum_up(status_with(), 0, 0).startswith("deliveries, one per recipient: 0 accepted · ")


@pytest.mark.parametrize(
    ("scope", "covered"),
    [("all", True), ("segment:london", True), ("segment:leeds", False), (f"mailbox:{AMELIA.address}", True)],
)
def test_people_whom_an_event_covers_write_here(scope: str, covered: bool) -> None:
    assert Situation(Faults(), status_with(event(scope, "active"))).covers(AMELIA) is covered


def test_the_scoreboard_finds_what_is_missing_and_what_came_twice(tmp_path: Path) -> None:
    board = Scoreboard(tmp_path)
    board.written("<1@x>", (AMELIA.address, f"all-london@{DOMAIN}", "bob@example.org"))
    london = [person.address for person in PEOPLE if person.segment == "london"]
    balance = board.balance(0)
    assert balance.expected == len(london)
    assert {mailbox for _, mailbox in balance.missing} == set(london)
    for number, address in enumerate([*london, AMELIA.address]):
        folder = tmp_path / "mailboxes" / address / "INBOX"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.0..eml").write_bytes(b"Subject: x\r\nMessage-ID: <1@x>\r\n\r\n")
    balance = board.balance(0)
    assert balance.missing == ()
    assert balance.repeated == 1
