"""A primary that misbehaves when it is asked for a recipient is never understood as "no such mailbox" (DESIGN §3.7).

Anything but a clear refusal is `450 4.1.1`, soon enough for the peer that waits; the question is put again next time.
RFC 5321 §4.2, §4.5.3.2.3.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from testkit.deeds import mischief
from testkit.process_facts import cost_of
from testkit.siege import Siege, siege_of
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ALL = mischief(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
NAMES = [
    "falls silent after RCPT", "one octet a second at rcpt", "leaves after RCPT", "speaks another protocol", "paint at greeting",
    "endless lines at ehlo", "a SIZE of five thousand digits", "no code at mail", "paint at mail", "endless lines at mail",
    "endless line at rcpt", "999 at rcpt", "354 at rcpt", "paint at rcpt", "nothing at rcpt",
]  # fmt: skip
HARMLESS = "a SIZE"
"""The answer to RCPT itself is an honest one."""
PATIENCE_S = 8.0
AT_ONCE = 4
SOON_S = 2.0
SILENT = "falls silent after RCPT"


@pytest.fixture(scope="module")
def siege() -> Iterator[Siege]:
    with siege_of({name: ALL[name] for name in NAMES}) as siege:
        yield siege


@pytest.fixture(scope="module")
def answers(siege: Siege) -> dict[str, tuple[str, float]]:
    """What a peer is told of an unknown recipient behind each hop, and after how long."""
    siege.turn_wicked(NAMES)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(NAMES, pool.map(lambda name: ask(siege, name), NAMES), strict=True))


def ask(siege: Siege, name: str) -> tuple[str, float]:
    with SmtpTalk(siege.gateway.mx, timeout_s=30) as talk:
        talk.hello().envelope()
        began = time.monotonic()
        return talk.ask(f"RCPT TO:<nobody@{siege.domain(name)}>"), time.monotonic() - began


@pytest.mark.parametrize("name", NAMES)
def test_the_peer_is_asked_to_come_again_and_soon(answers: dict[str, tuple[str, float]], name: str) -> None:
    reply, seconds = answers[name]
    assert reply.startswith("450 4.1.1") or (name.startswith(HARMLESS) and reply.startswith("250"))
    assert seconds < PATIENCE_S


def test_a_silent_primary_does_not_keep_others_from_being_asked(siege: Siege) -> None:
    siege.turn_wicked([SILENT])
    sockets = cost_of(siege.gateway.pid).sockets
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hanging = [pool.submit(ask, siege, SILENT) for _ in range(AT_ONCE)]
        wait_until(lambda: siege.hops[SILENT].victims >= AT_ONCE, "questions that hang")
        with SmtpTalk(siege.gateway.mx) as talk:
            talk.hello().envelope()
            began = time.monotonic()
            assert talk.ask("RCPT TO:<nobody@example.com>").startswith("250")
            assert time.monotonic() - began < SOON_S
        assert {one.result()[0][:9] for one in hanging} == {"450 4.1.1"}
    wait_until(lambda: cost_of(siege.gateway.pid).sockets <= sockets, "connections of questions given up to be closed")


def test_nothing_was_learnt_and_an_honest_answer_is_believed(
    siege: Siege, answers: dict[str, tuple[str, float]]
) -> None:
    assert len(answers) == len(NAMES)
    siege.turn_honest()
    for hop in siege.hops.values():
        hop.drop_connections()
    again = {name: ask(siege, name)[0][:3] for name in NAMES}
    assert set(again.values()) == {"250"}, again


def test_no_question_was_a_fault_of_ours(siege: Siege, answers: dict[str, tuple[str, float]]) -> None:
    lines = (siege.gateway.folder / "log").read_text().splitlines()
    assert not [line for line in lines if "Traceback" in line or "never retrieved" in line]
