"""The short form of `smtp_dialogue`, the dialogues that once broke a rule, and the rules themselves put to the proof."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz.dialogue_model import Broken, check
from fuzz.dialogue_seeds import FAKE_ENDS, HELLO, MAIL, RCPT, SMUGGLED, TEXT, dialogue
from fuzz.smtp_dialogue import Target, fuzz_blindly
from testkit.memory_door import Heard, TakenMessage

SECONDS = 2.5
BROKE_ONCE = {
    "a parameter of 600 octets is named in a reply beyond 512 (RFC 5321 §4.5.3.1.5)": dialogue(
        HELLO, MAIL.replace(b"\r\n", b" " + b"Y" * 600 + b"=1\r\n")
    ),
}
GREETING = b"220 mx.example.com\r\n"
ENVELOPE = [b"EHLO x\r\n", b"MAIL FROM:<x@example.org>\r\n", b"RCPT TO:<ann@example.com>\r\n", b"DATA\r\n"]
ANSWERS = GREETING + b"250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n"


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    target = Target(tmp_path)
    yield target
    target.close()


def test_no_dialogue_breaks_a_rule() -> None:
    found: list[str] = []
    assert fuzz_blindly(SECONDS, 20_260, found.append) == 0, found


@pytest.mark.parametrize("name", BROKE_ONCE)
def test_dialogues_that_broke_a_rule_once_keep_to_it(target: Target, name: str) -> None:
    target.run_one(b"\0" + BROKE_ONCE[name])


@pytest.mark.parametrize("fake", FAKE_ENDS, ids=repr)
def test_a_message_hidden_behind_an_end_that_is_none_is_text(target: Target, fake: bytes) -> None:
    heard = target.run_one(b"\0" + dialogue(HELLO, MAIL + RCPT + b"DATA\r\n", TEXT + fake + SMUGGLED + b".\r\n"))
    assert len(heard.taken) <= 1
    assert all(one.reverse_path == "x@example.org" for one in heard.taken)


@pytest.mark.parametrize(
    "heard",
    [
        Heard(ANSWERS + b"250 ok\r\n", []),
        Heard(ANSWERS + b"250 ok\r\n", [TakenMessage("y@example.org", ("a",), b"one\r\n.two\r\n", False)]),
        Heard(ANSWERS + b"250 ok\r\n", [TakenMessage("x@example.org", ("a",), b"one\r\n..two\r\n", False)]),
        Heard(ANSWERS + b"250 ok\r\n", [TakenMessage("x@example.org", ("a",), b"one\r\n.two\r\n", False)] * 2),
        Heard(ANSWERS + b"250 ok\r\n250 ok\r\n", [TakenMessage("x@example.org", ("a",), b"one\r\n.two\r\n", False)]),
        Heard(ANSWERS + b"354 go\r\n", []),
        Heard(ANSWERS + b"250 \x1b[2J\r\n", []),
        Heard(ANSWERS, []),
        Heard(GREETING, []),
        Heard(ANSWERS + b"554 no\r\n", [], ["an exception"]),
    ],
    ids=range(10),
)  # fmt: skip
def test_the_model_sees_a_door_that_breaks_a_rule(heard: Heard) -> None:
    with pytest.raises(Broken):
        check([*ENVELOPE, b"one\r\n..two\r\n.\r\n"], heard)


def test_the_model_lets_a_good_door_pass() -> None:
    taken = TakenMessage("x@example.org", ("a",), b"one\r\n.two\r\n", False)
    check([*ENVELOPE, b"one\r\n..two\r\n.\r\n"], Heard(ANSWERS + b"250 ok\r\n", [taken]))
