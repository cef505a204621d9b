"""The text after DATA as any octets in any pieces: one result, one end (RFC 5321 §2.3.8, §4.1.1.4, §4.5.2)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stormsail.domain.errors import StormsailError
from stormsail.intake import HeaderCheck
from stormsail.ledger import MessageFlag
from stormsail.smtpserver import DataMemory
from stormsail.smtpserver.data import MEMORY_BODY, DataCollector
from stormsail.store import BodyFiles
from testkit.received import content_of

CHECK = HeaderCheck(b"secret", "mx.example.com", frozenset())
END = b"\r\n.\r\n"
LONE_LF = re.compile(rb"(?<!\r)\n")
OCTETS = st.lists(
    st.one_of(
        st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"\r\n.", b"\n.\n", b".\r\n", b"\0", b"\xff", b"A: b", b"QUIT\r\n",
                         b"Stormsail-Trace: v1; x\r\n", b"x" * 50]),
        st.binary(max_size=20),
    )
).map(b"".join)  # fmt: skip
CUTS = st.lists(st.integers(0, 400), max_size=12)


@dataclass(frozen=True)
class Result:
    """What a collector makes of octets: a message or the kind of refusal, and what lay behind its end."""

    ended: bool
    behind: bytes = b""
    content: bytes | None = None
    received_hash: bytes = b""
    flags: MessageFlag = MessageFlag.NONE
    refused: tuple[str, int] | None = None


def collected(files: BodyFiles, pieces: Sequence[bytes], *, size: int = 1 << 30, line: int = 1 << 20) -> Result:
    memory = DataMemory(1 << 30)
    taking = DataCollector(memory, files.spool, CHECK, size, line)
    try:
        for number, piece in enumerate(pieces):
            behind = taking.feed(piece)
            if behind is not None:
                behind += b"".join(pieces[number + 1 :])
                body = taking.finish()
                content = content_of(files, body)
                assert len(content) == body.size
                return Result(True, behind, content, body.received_hash, body.flags)
    except StormsailError as error:
        return Result(True, behind or b"", refused=(type(error).__name__, error.reply.code))
    finally:
        taking.discard()
        assert memory.used == 0
    return Result(False)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> BodyFiles:
    return BodyFiles(tmp_path_factory.mktemp("bodies"))


@given(data=OCTETS, cuts=CUTS)
@example(data=b".\r\n.\r\n", cuts=[1, 2, 3, 4])
@example(data=b"\r\n\r.\r\n.\r\n", cuts=[3])
@settings(max_examples=600, deadline=None)
def test_any_pieces_of_any_octets_come_to_the_same(files: BodyFiles, data: bytes, cuts: list[int]) -> None:
    whole = collected(files, [data])
    assert collected(files, cut(data, cuts)) == whole
    assert collected(files, [data[at : at + 1] for at in range(len(data))]) == whole


@given(data=OCTETS)
@settings(max_examples=600, deadline=None)
def test_the_end_is_the_first_dot_between_crlf_and_nothing_else(files: BodyFiles, data: bytes) -> None:
    result = collected(files, [data])
    place = (b"\r\n" + data).find(END)
    assert result.ended == (place >= 0)
    if not result.ended or result.refused:
        return
    assert result.behind == data[place + 3 :]
    text = (b"\r\n" + data[:place]).replace(b"\r\n.", b"\r\n")[2:]
    assert result.content is not None
    assert result.content.replace(b"X-Original-", b"") == LONE_LF.sub(b"\r\n", text).replace(b"X-Original-", b"")


@given(data=OCTETS)
@example(data=b"one\rtwo\nthree")
@settings(max_examples=600, deadline=None)
def test_a_message_is_refused_only_for_a_bare_cr_or_a_nul(files: BodyFiles, data: bytes) -> None:
    result = collected(files, [data + END])
    text = (b"\r\n" + data + END).partition(END)[0]
    assert (result.refused is not None) == (b"\0" in text or b"\r" in text.replace(b"\r\n", b""))
    if result.refused is None:
        assert bool(result.flags & MessageFlag.BARE_LF) == (b"\n" in text.replace(b"\r\n", b""))


@given(first=st.integers(0, 3), size=st.integers(1000, 100_000), tail=OCTETS)
@settings(max_examples=30, deadline=None)
def test_large_texts_come_to_the_same_too_whether_on_disk_or_not(
    files: BodyFiles, first: int, size: int, tail: bytes
) -> None:
    data = b"A: b\r\n" * first + b"\r\n" + (b"..dot\r\n" + b"x" * 70 + b"\r\n") * (2 * MEMORY_BODY // 79) + tail + END
    whole = collected(files, [data])
    assert collected(files, cut(data, list(range(0, len(data), size)))) == whole
    small = collected(files, [data], size=1000), collected(files, cut(data, list(range(0, len(data), size))), size=1000)
    assert all(one.refused is not None and one.refused[1] >= 500 for one in small), "for whichever reason is seen first"
    assert small[0].behind == small[1].behind == whole.behind


@pytest.mark.parametrize("piece", [4096, 65_536, 262_144], ids=["4 kB", "64 kB", "256 kB"])
@pytest.mark.parametrize("length", [350_000, 500_000, 1_000_000])
def test_a_line_beyond_the_limit_is_refused_whatever_the_pieces(files: BodyFiles, length: int, piece: int) -> None:
    data = b"A: b\r\n\r\n" + b"x" * length + END
    assert collected(files, cut(data, list(range(0, len(data), piece))), line=300_000).refused is not None
