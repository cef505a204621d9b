"""Messages made to kill: they end at most a child, and stay listed, readable as far as can be, and downloadable."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stormsail.clock import SystemClock
from stormsail.digest import Digest, Hello, Request, Task, decode_answer, encode_request
from stormsail.digest.protocol import LENGTH
from stormsail.domain.errors import BadContent, TemporaryError
from stormsail.mailstore import CopyState
from stormsail.mailstore.child import ChildSlow, ChildUnavailable, DigestChild
from testkit.mailbox_copies import ANN, gateway, simple
from testkit.waiting import eventually

HEAD = b"From: Olga <olga@elsewhere.example>\r\nSubject: bomb\r\n"
MEMORY = 512 << 20


def slow_message() -> bytes:
    """Every line goes through a hundred parsers in each other: minutes of work in a few megabytes."""
    nesting = b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (depth, depth) for depth in range(100)
    )
    return HEAD + nesting + b"\r\n" + b"x\r\n" * 2_000_000


def hungry_message() -> bytes:
    """Millions of lines, each of which becomes an object."""
    return HEAD + b"Content-Type: text/plain\r\n\r\n" + b"\r\n" * 8_000_000


def test_a_message_that_takes_too_long_costs_its_child_and_nothing_else(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path, digest_seconds=1.0) as gate:
            content = slow_message()
            await gate.accept(content, [ANN])
            await gate.accept(simple("after it", "all is well"), [ANN])
            await gate.settled()
            after, bomb = await gate.copies(ANN)
            assert (after.subject, after.state) == ("after it", CopyState.READY)
            assert (bomb.subject, bomb.state) == ("bomb", CopyState.UNREADABLE)
            assert bomb.author.address == "olga@elsewhere.example"
            assert "too long" in bomb.problem
            assert (await gate.mailstore.raw(bomb.id)).endswith(content)
            assert await gate.found(ANN, "subject:bomb") == ["bomb"]
            with pytest.raises(BadContent):
                await gate.mailstore.attachment(bomb.id, "1")
            await gate.mailstore.stop()
            await gate.start_mailstore()
            assert (await gate.mailstore.lag()).undigested == 0

    asyncio.run(story())


def test_a_message_that_needs_too_much_memory_is_read_in_part(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path, digest_memory=192 << 20) as gate:
            await gate.accept(hungry_message(), [ANN])
            await gate.accept(simple("after it", "all is well"), [ANN])
            await gate.settled()
            after, bomb = await gate.copies(ANN)
            assert (after.state, bomb.state) == (CopyState.READY, CopyState.UNREADABLE)
            assert bomb.subject == "bomb"
            assert bomb.problem

    asyncio.run(story())


def test_a_child_that_is_killed_in_the_middle_is_replaced_and_the_message_is_read(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("first", "text"), [ANN])
            await gate.settled()
            (child,) = gate.mailstore.children.children
            stopped = child.pid
            assert stopped is not None
            os.kill(stopped, signal.SIGSTOP)
            await gate.accept(simple("second", "text"), [ANN])
            await eventually(lambda: len(gate.changes) >= 3, "the second row")
            os.kill(stopped, signal.SIGKILL)
            await gate.settled()
            assert [(copy.subject, copy.state) for copy in await gate.copies(ANN)] == [
                ("second", CopyState.READY),
                ("first", CopyState.READY),
            ]
            assert child.pid != stopped

    asyncio.run(story())


def test_no_child_outlives_the_mailstore(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path, digest_children=2) as gate:
            for number in range(20):
                await gate.accept(simple(f"number {number}", "text"), [ANN])
            await gate.settled()
            pids = [child.pid for child in gate.mailstore.children.children]
        for pid in pids:
            assert pid is None or not Path(f"/proc/{pid}").exists()

    asyncio.run(story())


def test_nobody_waits_for_a_part_beyond_the_end(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("first", "text"), [ANN])
            copy = await gate.only_copy(ANN)
            (child,) = gate.mailstore.children.children
            assert child.pid is not None
            os.kill(child.pid, signal.SIGSTOP)
            waiting = [asyncio.ensure_future(gate.mailstore.attachment(copy.id, "1")) for _ in range(3)]
            await gate.mailstore.lag()
        for one in waiting:
            with pytest.raises((BadContent, TemporaryError)):
                await asyncio.wait_for(one, 10)

    asyncio.run(story())


def test_work_waits_while_no_child_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            with monkeypatch.context() as broken:
                broken.setattr(sys, "executable", "/nonexistent/python")
                await gate.accept(simple("patient", "text"), [ANN])
                await eventually(lambda: gate.mailstore.children.trouble, "the trouble to be known")
                assert "cannot be started" in (await gate.mailstore.lag()).trouble
                assert (await gate.copies(ANN))[0].state is CopyState.PREPARING
            await gate.settled()
            assert (await gate.mailstore.lag()).trouble == ""
            assert (await gate.only_copy(ANN)).subject == "patient"

    asyncio.run(story())


def test_the_watchdog_keeps_the_time_it_was_given() -> None:
    child = DigestChild(SystemClock(), MEMORY, 0.5)
    try:
        with pytest.raises(ChildSlow):
            child.ask(Request(Task.DIGEST, memoryview(slow_message())))
        answer = child.ask(Request(Task.SCAN, memoryview(slow_message())))
        assert isinstance(answer, Digest)
        assert answer.subject == "bomb"
    finally:
        child.retire()


def test_a_child_that_cannot_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho first words >&2\nprintf 'last \\033[31m words\\n' >&2\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    child = DigestChild(SystemClock(), MEMORY, 5.0)
    with pytest.raises(ChildUnavailable, match=r"ended with 3 last \?\[31m words"):
        child.ask(Request(Task.SCAN, memoryview(b"")))


def open_child(seconds: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "stormsail.digest", "--memory", str(MEMORY), "--seconds", seconds],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_a_child_ends_when_its_parent_is_gone_and_at_bytes_that_are_no_request() -> None:
    for sent in (b"", b"\xff" * 64, LENGTH.pack(3) + b"abc", LENGTH.pack(100) + b"torn"):
        with open_child("5") as process:
            output, _ = process.communicate(sent, timeout=20)
        (length,) = LENGTH.unpack_from(output)
        assert decode_answer(output[LENGTH.size : LENGTH.size + length]) == Hello()
        assert len(output) == LENGTH.size + length


def test_a_child_ends_by_itself_when_nobody_watches() -> None:
    data = encode_request(Request(Task.DIGEST, memoryview(slow_message())))
    with open_child("0.25") as process:
        assert process.stdin is not None
        process.stdin.write(LENGTH.pack(len(data)) + data)
        process.stdin.flush()
        assert process.wait(20) == -signal.SIGALRM
