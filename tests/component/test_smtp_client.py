"""The client towards next hops, against one that follows a script (RFC 5321 §3.3, §4.2, §4.5.2, RFC 2920, RFC 1870)."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from stormsail.config.settings import TlsMode
from stormsail.domain.replies import Stage
from stormsail.smtpclient import (
    ConnectFailed,
    Connection,
    Envelope,
    NextHop,
    Transaction,
    open_connection,
    run_transaction,
)
from stormsail.smtpclient.transaction import Timeouts, verify_recipient
from testkit.raw_server import lines_of, raw_server
from testkit.scripted_smtp import Act, Behaviour, ScriptedSmtp
from testkit.waiting import eventually

ANN, BOB, CARL = "ann@example.com", "bob@example.com", "carl@example.com"
QUICK = Timeouts(1.0, 1.0)
PATIENT = Timeouts(10.0, 10.0)
TEXT = b"Subject: hello\r\n\r\n.\r\n..dots\r\ncaf\xe9\r\n"
LARGE = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 63 + b"\r\n" + (b"y" * 70 + b"\r\n") * 60_000
DOTS = [b"y" * shift + b"\r\n.." * 140_000 + b"\r\n" for shift in range(4)]
"""Long enough for several chunks, which end at every place of a dotted line."""
BOTH_WAYS = pytest.mark.parametrize("pipelining", [True, False], ids=["pipelined", "in lock step"])


def keywords(pipelining: bool) -> tuple[str, ...]:
    return ("PIPELINING", "8BITMIME", "SIZE 52428800") if pipelining else ("8BITMIME", "SIZE 52428800")


def envelope(*recipients: str, reverse_path: str = "x@example.org", size: int = len(TEXT)) -> Envelope:
    return Envelope(reverse_path, recipients or (ANN,), size, True)


async def connect(port: int, timeout_s: float = 5.0) -> Connection:
    return await open_connection(NextHop("127.0.0.1", "127.0.0.1", port, TlsMode.NONE), "mx.example.com", timeout_s)


def story(told: Callable[[], Awaitable[None]]) -> None:
    """Runs it, for half a minute at most."""

    async def run() -> None:
        async with asyncio.timeout(30):
            await told()

    asyncio.run(run())


def outcome(done: Transaction) -> list[tuple[int, Stage, bool]]:
    return [(result.reply.code, result.stage, result.in_doubt) for result in done.results]


@BOTH_WAYS
@pytest.mark.parametrize("text", [TEXT, b"", b".", b"no line end", LARGE, b".\r\n.\r\n", *DOTS], ids=range(10))
def test_the_octets_arrive_as_they_are_and_the_connection_can_be_used_again(pipelining: bool, text: bytes) -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(keywords=keywords(pipelining))) as server:
            connection = await connect(server.port)
            for _ in range(3):
                done = await run_transaction(connection, envelope(ANN, BOB), b"X: y\r\n" + text, PATIENT)
                assert outcome(done) == [(250, Stage.DOT, False)] * 2
            await connection.quit()
            whole = b"X: y\r\n" + text
            assert {taken.content for taken in server.messages} == {
                whole if whole.endswith(b"\r\n") else whole + b"\r\n"
            }
            assert [taken.recipients for taken in server.messages] == [[ANN, BOB]] * 3
            assert server.connections == 1
            assert server.messages[0].mail_options == [f"SIZE={len(TEXT)}", "BODY=8BITMIME"]
            await eventually(lambda: server.open_connections == 0, "the end of the connection")

    story(told)


@BOTH_WAYS
def test_each_recipient_has_its_own_reply(pipelining: bool) -> None:
    async def told() -> None:
        refusals = {BOB: "550 5.1.1 unknown", CARL: "452 4.2.2 full"}
        async with ScriptedSmtp(Behaviour(keywords=keywords(pipelining), recipients=dict(refusals))) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(BOB, ANN, CARL), TEXT, PATIENT)
            assert outcome(done) == [(550, Stage.RCPT, False), (250, Stage.DOT, False), (452, Stage.RCPT, False)]
            assert str(done.results[0].reply) == "550 5.1.1 unknown"
            assert [taken.recipients for taken in server.messages] == [[ANN]]

    story(told)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("on", "code", "stage"),
    [
        ({Stage.MAIL: "451 4.3.2 not now"}, 451, Stage.MAIL),
        ({Stage.MAIL: "550 5.7.1 no"}, 550, Stage.MAIL),
        ({Stage.RCPT: "550 5.1.1 no"}, 550, Stage.RCPT),
        ({Stage.DATA: "451 4.3.0 no"}, 451, Stage.DATA),
        ({Stage.DATA: "250 what"}, 451, Stage.DATA),
        ({Stage.DOT: "554 5.6.0 no"}, 554, Stage.DOT),
        ({Stage.DOT: "452-4.3.1 first\r\n452 4.3.1 second"}, 452, Stage.DOT),
    ],
    ids=lambda value: "",
)
def test_a_refusal_is_told_with_its_stage_and_the_connection_goes_on(
    pipelining: bool, on: dict[Stage, str], code: int, stage: Stage
) -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(keywords=keywords(pipelining), on=dict(on))) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(), TEXT, QUICK)
            assert outcome(done) == [(code, stage, False)]
            server.behaviour = Behaviour(keywords=keywords(pipelining))
            if connection.lost is None:
                assert outcome(await run_transaction(connection, envelope(), TEXT, PATIENT)) == [
                    (250, Stage.DOT, False)
                ]

    story(told)


def test_a_peer_that_wants_text_though_it_took_nobody_gets_none() -> None:
    """RFC 2920 §3.1: 354 without a valid recipient; the text must not be sent to it."""

    async def told() -> None:
        lines = [b"250 ok\r\n", b"550 5.1.1 no\r\n", b"354 go on\r\n"]
        async with raw_server(lines_of(lines, after_dot=b"554 5.5.1 no valid recipients\r\n")) as (port, heard):
            connection = await connect(port)
            done = await run_transaction(connection, envelope(), TEXT, PATIENT)
            assert outcome(done) == [(550, Stage.RCPT, False)]
            assert not done.dot_sent
            assert connection.lost is None
            assert b"Subject" not in heard
            assert heard.endswith(b"DATA\r\n.\r\n")

    story(told)


@pytest.mark.parametrize(
    ("answer", "code"), [("552 5.3.4 too large", 552), ("451 4.3.0 no", 451), ("250 2.0.0 taken already", 451)]
)
def test_an_answer_in_the_middle_of_the_text_is_believed_only_if_it_refuses(answer: str, code: int) -> None:
    async def told() -> None:
        async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100_000)
            writer.write(answer.encode() + b"\r\n")
            while await reader.read(4096):
                continue

        async with raw_server(lines_of([b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"], then=early)) as (port, _):
            connection = await connect(port)
            done = await run_transaction(connection, envelope(size=len(LARGE) * 4), LARGE * 4, PATIENT)
            assert outcome(done) == [(code, Stage.DATA, False)]
            assert not done.dot_sent
            assert connection.lost is not None

    story(told)


@BOTH_WAYS
@pytest.mark.parametrize("act", [Act.CLOSE, Act.RESET, Act.SILENCE, Act.ENDLESS, b"\xff\x00garbage\r\n", b"999 x\r\n"])
def test_a_reply_lost_behind_the_dot_leaves_the_message_in_doubt(pipelining: bool, act: Act | bytes) -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(keywords=keywords(pipelining), on={Stage.DOT: act})) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(ANN, BOB), TEXT, QUICK)
            assert outcome(done) == [(451, Stage.DOT, True)] * 2
            assert done.dot_sent
            assert connection.lost is not None
            await eventually(lambda: server.open_connections == 0, "our end of the connection to be closed")

    story(told)


@BOTH_WAYS
@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
@pytest.mark.parametrize("act", [Act.CLOSE, Act.RESET, Act.SILENCE, Act.ENDLESS, b"hello\r\n", b"25\r\n", b"250\n"])
def test_a_peer_that_breaks_before_the_dot_has_certainly_not_got_the_message(
    pipelining: bool, stage: Stage, act: Act | bytes
) -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(keywords=keywords(pipelining), on={stage: act})) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(), TEXT, QUICK)
            if act == b"250\n":
                assert outcome(done)[0][0] in (250, 451), "a bare 250 is a reply, even if poor"
                return
            [(code, where, in_doubt)] = outcome(done)
            assert (code, in_doubt) == (451, False)
            assert where is stage or {where, stage} == {Stage.MAIL, Stage.RCPT}
            assert connection.lost is not None
            assert not server.messages
            await eventually(lambda: server.open_connections == 0, "our end of the connection to be closed")

    story(told)


def test_a_connection_cut_in_the_middle_of_the_text_is_no_doubt() -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(cut_after=300_000)) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(size=len(LARGE)), LARGE * 4, PATIENT)
            assert outcome(done) == [(451, Stage.DOT, False)]
            assert not done.dot_sent

    story(told)


def test_a_peer_that_stops_reading_loses_the_connection() -> None:
    async def told() -> None:
        async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(20)

        async with raw_server(lines_of([b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"], then=deaf)) as (port, _):
            connection = await connect(port)
            began = time.monotonic()
            done = await run_transaction(connection, envelope(size=len(LARGE)), LARGE * 8, QUICK)
            assert outcome(done) == [(451, Stage.DOT, False)]
            assert not done.dot_sent
            assert time.monotonic() - began < 5

    story(told)


ENDLESS = {
    "one line": b"2" * 65_536,
    "many lines": b"250-still here\r\n" * 4096,
    "empty lines": b"250-\r\n" * 10_000,
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_reply_without_end_costs_little_memory_and_ends_the_connection(kind: str) -> None:
    async def told() -> None:
        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            while True:
                writer.write(ENDLESS[kind])
                await writer.drain()

        async with raw_server(lines_of([], then=pour)) as (port, _):
            connection = await connect(port)
            tracemalloc.start()
            try:
                done = await run_transaction(connection, envelope(), TEXT, PATIENT)
                assert tracemalloc.get_traced_memory()[1] < 8 << 20
            finally:
                tracemalloc.stop()
            assert outcome(done)[0][2] is False
            assert connection.lost == "The peer's reply was too long"

    story(told)


def test_a_peer_that_speaks_unasked_is_left() -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(on={Stage.DOT: b"250 ok\r\n250 and something else\r\n"})) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(), TEXT, PATIENT)
            assert outcome(done) == [(250, Stage.DOT, False)]
            await eventually(lambda: connection.lost is not None, "the unasked words to be heard")
            await eventually(lambda: server.open_connections == 0, "our end of the connection to be closed")

    story(told)


def test_a_kept_connection_that_the_peer_has_closed_is_noticed() -> None:
    async def told() -> None:
        async with ScriptedSmtp() as server:
            connection = await connect(server.port)
            server.drop_connections()
            await eventually(lambda: connection.lost is not None, "the end to be noticed")
            done = await run_transaction(connection, envelope(), TEXT, QUICK)
            assert outcome(done) == [(451, Stage.MAIL, False)]
            assert connection.replies_since_start == 0

    story(told)


@pytest.mark.parametrize(
    ("on", "stage", "code"),
    [
        ({Stage.CONNECT: Act.RESET}, Stage.CONNECT, 451),
        ({Stage.GREETING: Act.CLOSE}, Stage.CONNECT, 451),
        ({Stage.GREETING: Act.SILENCE}, Stage.CONNECT, 451),
        ({Stage.GREETING: "421 4.3.2 closing"}, Stage.CONNECT, 421),
        ({Stage.GREETING: "554 5.3.2 no mail here"}, Stage.CONNECT, 554),
        ({Stage.GREETING: b"SSH-2.0-OpenSSH_9.2\r\n"}, Stage.CONNECT, 451),
        ({Stage.GREETING: Act.ENDLESS}, Stage.CONNECT, 451),
        ({Stage.EHLO: "421 4.7.0 no"}, Stage.EHLO, 421),
        ({Stage.EHLO: "550 5.7.1 no"}, Stage.EHLO, 550),
        ({Stage.EHLO: Act.CLOSE}, Stage.EHLO, 451),
        ({Stage.EHLO: Act.ENDLESS}, Stage.EHLO, 451),
        ({Stage.EHLO: b"250-\xff\xfe\x1b[2J\r\nnothing\r\n"}, Stage.EHLO, 451),
    ],
    ids=lambda value: "",
)
def test_a_greeting_that_fails_says_where_and_how_and_leaves_nothing_open(
    on: dict[Stage, str | bytes | Act], stage: Stage, code: int
) -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(on=dict(on))) as server:
            with pytest.raises(ConnectFailed) as caught:
                await connect(server.port, 1.0)
            failed = caught.value
            assert (failed.stage, failed.peer_reply.code) == (stage, code) or failed.peer_reply.code == 451
            assert str(failed.peer_reply).isprintable()
            assert str(server.port) in failed.remote
            await eventually(lambda: server.open_connections == 0, "our end of the connection to be closed")

    story(told)


def test_an_old_server_that_knows_only_helo_is_spoken_to() -> None:
    async def told() -> None:
        def answer(command: str) -> str:
            return "502 5.5.1 what?" if command.upper().startswith("EHLO") else "250 old.server.test"

        async with ScriptedSmtp(Behaviour(on={Stage.EHLO: answer})) as server:
            connection = await connect(server.port)
            done = await run_transaction(connection, envelope(), TEXT, PATIENT)
            assert outcome(done) == [(250, Stage.DOT, False)]
            assert server.messages[0].mail_options == []

    story(told)


def test_nobody_there_is_a_failure_to_connect() -> None:
    async def told() -> None:
        async with ScriptedSmtp() as server:
            await server.refuse()
            with pytest.raises(ConnectFailed) as caught:
                await connect(server.port)
            assert caught.value.stage is Stage.CONNECT

    story(told)


def test_asking_for_a_recipient_sends_nothing_and_can_be_done_again() -> None:
    async def told() -> None:
        async with ScriptedSmtp(Behaviour(recipients={BOB: "550 5.1.1 unknown"})) as server:
            connection = await connect(server.port)
            answers = [await verify_recipient(connection, one, PATIENT) for one in (ANN, BOB, ANN)]
            assert [answer.reply.code for answer in answers] == [250, 550, 250]
            assert not server.messages
            assert server.commands.count("MAIL FROM:<>") == 3

    story(told)
