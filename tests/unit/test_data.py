"""The text after DATA: where it ends, which dots go, which line ends are taken (RFC 5321 §4.5.2, §2.3.8)."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stormsail.domain.errors import BadContent, MessageTooLarge, StorageFull
from stormsail.intake import HeaderCheck, ReceivedBody
from stormsail.ledger import MessageFlag
from stormsail.smtpserver import DataMemory
from stormsail.smtpserver.data import DataCollector
from stormsail.store import BodyFiles
from testkit.received import content_of

CHECK = HeaderCheck(b"secret", "mx.example.com", frozenset())


def collector(files: BodyFiles, *, memory: int = 1 << 30, size: int = 1 << 30, line: int = 1 << 20) -> DataCollector:
    return DataCollector(DataMemory(memory), files.spool, CHECK, size, line)


def receive(files: BodyFiles, chunks: list[bytes], **limits: int) -> tuple[ReceivedBody, bytes]:
    """The body and what came behind its end."""
    taking = collector(files, **limits)
    for number, chunk in enumerate(chunks):
        behind = taking.feed(chunk)
        if behind is not None:
            return taking.finish(), behind + b"".join(chunks[number + 1 :])
    raise AssertionError("the end did not come")


@pytest.fixture
def files(tmp_path: Path) -> BodyFiles:
    return BodyFiles(tmp_path)


def test_the_text_ends_at_a_dot_between_crlf_and_what_follows_is_left_alone(files: BodyFiles) -> None:
    body, behind = receive(files, [b"A: b\r\n\r\nhello\r\n.\r\nQUIT\r\n"])
    assert body.content == b"A: b\r\n\r\nhello\r\n"
    assert behind == b"QUIT\r\n"


def test_an_empty_text_is_taken(files: BodyFiles) -> None:
    body, _ = receive(files, [b".\r\n"])
    assert body.content == b""


@pytest.mark.parametrize("fake", [b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r\n.\rx"])
def test_a_dot_between_other_line_ends_does_not_end_the_text(files: BodyFiles, fake: bytes) -> None:
    taking = collector(files)
    assert taking.feed(b"A: b\r\n\r\nhello" + fake + b"MAIL FROM:<evil@example.org>") is None


def test_a_bare_lf_becomes_crlf_and_is_marked(files: BodyFiles) -> None:
    body, _ = receive(files, [b"A: b\r\n\r\none\ntwo\n.\nthree\r\n.\r\n"])
    assert body.content == b"A: b\r\n\r\none\r\ntwo\r\n.\r\nthree\r\n"
    assert body.flags & MessageFlag.BARE_LF


@pytest.mark.parametrize("bad", [b"one\rtwo", b"one\rtwo\nthree", b"one\0two", b"\r\r\n", b"x\r\r"])
def test_a_bare_cr_or_a_nul_refuses_the_message_after_its_end(files: BodyFiles, bad: bytes) -> None:
    taking = collector(files)
    assert taking.feed(b"A: b\r\n\r\n" + bad + b"\r\n.\r\n") == b""
    with pytest.raises(BadContent):
        taking.finish()


TEXT = st.lists(st.sampled_from([b"\r\n", b".", b"..", b"a", b"line of text", b"\n", b"\xff", b"A: b"])).map(b"".join)


@given(text=TEXT, cuts=st.lists(st.integers(0, 200)))
@settings(max_examples=400, deadline=None)
def test_however_the_text_is_cut_into_chunks_the_same_arrives(
    tmp_path_factory: pytest.TempPathFactory, text: bytes, cuts: list[int]
) -> None:
    files = BodyFiles(tmp_path_factory.getbasetemp() / "bodies")
    text = text.replace(b"\r", b"\r\n").replace(b"\r\n\n", b"\r\n")
    text = text if text.endswith(b"\r\n") or not text else text + b"\r\n"
    dotted = text.replace(b"\r\n.", b"\r\n..")
    wire = (b"." + dotted if dotted.startswith(b".") else dotted) + b".\r\n"
    places = sorted({min(cut, len(wire)) for cut in cuts} | {0, len(wire)})
    chunks = [wire[start:end] for start, end in pairwise(places)]
    body, behind = receive(files, chunks)
    assert behind == b""
    assert body.content is not None
    assert body.content.replace(b"\r\n", b"\n") == text.replace(b"\r\n", b"\n")


def test_a_large_message_goes_to_disk_and_gives_its_memory_back(files: BodyFiles) -> None:
    memory = DataMemory(1 << 20)
    taking = DataCollector(memory, files.spool, CHECK, 1 << 30, 1 << 20)
    line = b"x" * 70 + b"\r\n"
    taking.feed(b"Subject: big\r\n\r\n")
    for _ in range(60):
        assert taking.feed(line * 1000) is None
    assert memory.used < 1 << 19
    assert taking.feed(b".\r\n") == b""
    body = taking.finish()
    assert body.spooled is not None
    assert content_of(files, body) == b"Subject: big\r\n\r\n" + line * 60_000
    assert memory.used == 0


def test_a_message_above_the_limit_is_refused_but_read_to_its_end(files: BodyFiles) -> None:
    taking = collector(files, size=1000)
    assert taking.feed(b"x" * 500 + b"\r\n") is None
    assert taking.feed(b"x" * 600 + b"\r\n.\r\nNOOP\r\n") == b"NOOP\r\n"
    with pytest.raises(MessageTooLarge):
        taking.finish()


def test_where_memory_is_short_the_sender_is_asked_to_come_back(files: BodyFiles) -> None:
    taking = collector(files, memory=1000)
    taking.feed(b"x" * 2000 + b"\r\n.\r\n")
    with pytest.raises(StorageFull):
        taking.finish()


def test_an_endless_line_is_refused(files: BodyFiles) -> None:
    taking = collector(files, line=200_000)
    for _ in range(10):
        taking.feed(b"x" * 60_000)
    taking.feed(b"\r\n.\r\n")
    with pytest.raises(BadContent):
        taking.finish()


def test_fields_in_our_name_are_renamed_also_in_a_large_message(files: BodyFiles) -> None:
    forged = (
        b"Stormsail-Trace: v1; 0000000000000; mx; 00\r\nAuthentication-Results: (c) mx.example.com; spf=pass\r\n\r\n"
    )
    body, _ = receive(files, [forged, b"x" * 70 + b"\r\n", (b"x" * 70 + b"\r\n") * 9000, b".\r\n"])
    content = content_of(files, body)
    assert body.facts.altered
    assert content.startswith(b"X-Original-Stormsail-Trace: v1;")
    assert b"\r\nX-Original-Authentication-Results: (c) mx.example.com" in content[:200]
    assert body.size == len(content)
