"""One gateway owns its data: a second one refuses, one that was stopped and replaced ends without a delivery (DESIGN §6)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from testkit.gateway import Gateway, message, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.smtp_talk import SmtpTalk
from testkit.strace import attached, need_strace, stop_at
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
ANN = "ann@example.com"
TAKEN_OVER = 70


@pytest.fixture
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@contextmanager
def rival_of(gateway: Gateway, primary: NextHop) -> Iterator[Gateway]:
    """Another gateway with ports of its own on the same data, not started yet."""
    with running_gateway(primary=primary.port, started=False) as rival:
        shutil.copy(gateway.folder / "mailboxes.csv", rival.folder)
        rival.data = gateway.data
        rival.config.write_text(rival.config.read_text().replace('data_dir = "data"', f'data_dir = "{gateway.data}"'))
        yield rival


def test_a_second_gateway_on_the_same_data_refuses_to_start_and_disturbs_nothing(primary: NextHop) -> None:
    with running_gateway(primary=primary.port) as gateway, rival_of(gateway, primary) as rival:
        with pytest.raises(AssertionError, match="Another gateway is running"):
            rival.start()
        assert rival.wait() == 1
        assert gateway.send(ANN, message()).startswith("250")
        gateway.wait_for(relayed=1)
        gateway.assert_sound()
        assert gateway.stop() == 0
        rival.start()
        assert rival.totals() == {"relayed": 1}


def test_a_gateway_that_was_stopped_replaced_and_continued_ends_without_a_delivery(primary: NextHop) -> None:
    primary.refuse()
    with running_gateway(primary=primary.port, started=False) as gateway, rival_of(gateway, primary) as rival:
        # So long that nothing is being written when it is stopped, so short that all is due when it goes on.
        gateway.config.write_text(gateway.config.read_text().replace("retry_first_s = 0.3", "retry_first_s = 4.0"))
        gateway.start()
        for number in range(5):
            gateway.send(ANN, message(f"m{number}"))
        gateway.wait_for(deferred=5)
        wait_until(lambda: not gateway.status()["queue"]["active"], "a moment in which nothing is written")
        pause_elsewhere(gateway)
        rival.start()
        rival.api("POST", "/events", json={"scope": "all", "reason": "so that nothing is delivered"})
        rival.wait_for(held=5)
        primary.listen()
        assert gateway.go_on() == TAKEN_OVER
        assert not primary.messages
        assert rival.totals() == {"held": 5}
        assert "taken over" in gateway.log()
        rival.assert_sound()


def pause_elsewhere(gateway: Gateway) -> None:
    """Stops it and makes it look like one on another machine, which its successor cannot end."""
    gateway.pause()
    (gateway.data / "owner.beat").write_text("elsewhere 1")


def test_a_gateway_that_replaces_a_stopped_one_gets_its_ports_too(primary: NextHop) -> None:
    with running_gateway(primary=primary.port) as gateway, rival_of(gateway, primary) as rival:
        words = gateway.config.read_text().replace('data_dir = "data"', f'data_dir = "{gateway.data}"')
        rival.config.write_text(words)
        rival.mx = gateway.mx
        gateway.send(ANN, message("before"))
        gateway.wait_for(relayed=1)
        gateway.pause()
        rival.start()
        assert gateway.wait() != 0
        assert rival.send(ANN, message("after")).startswith("250")
        rival.wait_for(relayed=2)
        rival.assert_sound()


def stays_stopped(process: int) -> bool:
    """Whether it is stopped for good, not only looked at by its tracer for a moment."""
    return all(_stopped(process) for _ in range(2000))


def _stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] in "Tt"


@pytest.mark.parametrize(("call", "when"), [("pwrite64", 1), *([("fdatasync", 2)] if FULL else [])])
def test_what_a_replaced_gateway_still_answers_250_is_not_lost(primary: NextHop, call: str, when: int) -> None:
    """Stopped in the middle of keeping a message: if its sender gets a 250 after all, the successor has it."""
    need_strace()
    with ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(primary=primary.port))
        rival = stack.enter_context(rival_of(gateway, primary))
        gateway.send(ANN, message("before"))
        gateway.wait_for(relayed=1)
        [segment] = gateway.data.glob("bodies/*/s-*")
        talk = stack.enter_context(SmtpTalk(gateway.mx, timeout_s=30)).hello()
        pool = stack.enter_context(ThreadPoolExecutor())
        answers: list[Future[str]] = []
        with attached(gateway.pid, stop_at(call, when, segment)):
            for number in range(when):
                talk.data(ANN)
                talk.send(message(f"number {number}") + b".\r\n")
                answers.append(pool.submit(answer_of, talk))
                wait_until(lambda: answers[-1].done() or stays_stopped(gateway.pid), "the answer or the stop")
        assert stays_stopped(gateway.pid)
        (gateway.data / "owner.beat").write_text("elsewhere 1")
        rival.start()
        assert gateway.go_on() == TAKEN_OVER
        taken = {f"number {number}" for number, one in enumerate(answers) if one.result(30).startswith("250")}
        wait_until(lambda: taken <= subjects(primary), f"what was answered 250: {taken}", 10, rival.log)
        rival.assert_sound()


def subjects(primary: NextHop) -> set[str]:
    return {one.content.partition(b"\r\nSubject: ")[2].partition(b"\r\n")[0].decode() for one in primary.messages}


def answer_of(talk: SmtpTalk) -> str:
    try:
        return talk.reply()
    except (OSError, EOFError) as error:
        return f"nothing: {error}"
