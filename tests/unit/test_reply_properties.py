"""Replies of a peer, whatever octets it sends in whatever pieces: bounded, printable, in order (RFC 5321 §4.2)."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from stormsail.domain.errors import NextHopUnavailable
from stormsail.domain.replies import ReplyClass, Stage, about_us, classify, classify_outward
from stormsail.domain.reply import ENHANCED, TEXT_LIMIT, Reply, parse_reply
from stormsail.smtpclient import Connection
from stormsail.smtpclient.connection import BUFFER_LIMIT

CODES = st.integers(200, 599)
PIECES = st.lists(
    st.sampled_from([b"250", b"250 ", b"250-", b"354 go", b"451 4.3.0 no", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"\x1b[2J", b"2", b"9",
                     b"999 x\r\n", b"250 ok\r\n", b"250-a\r\n", b"550 5.1.1 \x07\r\n", b"x" * 500, b"250 " + b"y" * 5000])
).map(lambda pieces: b"".join(pieces)[: BUFFER_LIMIT // 2])  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=700),
    st.builds(
        "{}.{}.{} {}".format, st.integers(0, 9), st.integers(0, 2000), st.integers(0, 2000), st.text(max_size=50)
    ),
)


class Silent(asyncio.Transport):
    """Takes everything; all that counts is whether it was aborted."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True


def heard(data: bytes, cuts: list[int], expected: int) -> tuple[list[Reply | str], str | None]:
    """What a connection that waits for so many replies makes of the octets, and why it was given up, if it was."""

    async def listen() -> tuple[list[Reply | str], str | None]:
        connection, transport = Connection("peer.test", {}, ""), Silent()
        connection.connection_made(transport)
        waiting = [connection.expect() for _ in range(expected)]
        places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
        for start, end in pairwise(places):
            connection.data_received(data[start:end])
        assert transport.aborted == (connection.lost is not None)
        outcomes: list[Reply | str] = []
        for one in waiting:
            error = one.exception() if one.done() else None
            assert error is None or isinstance(error, NextHopUnavailable)
            outcomes.append(one.result() if one.done() and error is None else "none")
        return outcomes, connection.lost

    return asyncio.run(listen())


@given(data=st.one_of(PIECES, st.binary(max_size=200)), cuts=st.lists(st.integers(0, 3000), max_size=8))
@settings(max_examples=300, deadline=None)
def test_replies_do_not_depend_on_the_pieces_they_come_in(data: bytes, cuts: list[int]) -> None:
    whole, lost = heard(data, [], 3)
    pieces, lost_too = heard(data, cuts, 3)
    assert (pieces, lost_too is None) == (whole, lost is None)
    for reply in whole:
        assert isinstance(reply, str) or (200 <= reply.code <= 599 and reply.wire().isascii())
    assert lost is None or (lost.isascii() and lost.isprintable())


@given(line=st.sampled_from([b"2", b"250-x\r\n", b"250-\r\n", b"250 x"]), size=st.integers(200, 5000))
@settings(max_examples=30, deadline=None)
def test_a_reply_without_end_is_given_up_whatever_the_pieces(line: bytes, size: int) -> None:
    data = line * (2 * BUFFER_LIMIT // len(line))
    outcomes, lost = heard(data, list(range(0, len(data), size * len(line))), 1)
    assert outcomes == ["none"]
    assert lost == "The peer's reply was too long"


@given(code=CODES, text=TEXTS)
def test_a_reply_is_printable_short_and_the_same_when_read_again(code: int, text: str) -> None:
    reply = parse_reply(code, text)
    assert reply.code == code
    assert str(reply).isascii()
    assert str(reply).isprintable()
    assert len(reply.text) <= TEXT_LIMIT
    assert not reply.enhanced or ENHANCED.fullmatch(reply.enhanced)
    assert parse_reply(code, f"{reply.enhanced} {reply.text}".strip()) == reply
    assert parse_reply(code, str(reply.wire()[4:], "ascii")) == reply
    assert [reply.positive, reply.permanent, reply.temporary].count(True) == 1


@given(code=CODES, text=TEXTS, stage=st.sampled_from(Stage))
def test_every_reply_is_about_something_at_every_stage(code: int, text: str, stage: Stage) -> None:
    reply = parse_reply(code, text)
    inward, outward = classify(reply, stage), classify_outward(reply, stage)
    assert (inward is ReplyClass.TAKEN) == (outward is ReplyClass.TAKEN) == reply.positive
    assert isinstance(about_us(reply), bool)
    final = {ReplyClass.RECIPIENT_REFUSED, ReplyClass.MESSAGE_REFUSED, ReplyClass.MESSAGE_TOO_LARGE}
    assert reply.permanent or not {inward, outward} & final, "only a 5xx is for good"
