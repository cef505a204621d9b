"""Attacks on an SMTP door, each by many connections at once: none of them ever hands in a message.

In: a port and how many places the door has. Out: nothing; each ends when its last connection is closed on our side.
Raises AssertionError where the door did not answer as it should, EOFError or OSError where it did not answer at all.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

TIMEOUT_S = 60.0
AT_ONCE = 50
HALF_A_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"r" * 20
TEXT = b"Subject: abandoned\r\n\r\n" + (b"z" * 70 + b"\r\n") * 4200


class Caller:
    """One connection that has been greeted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def greeted(cls, port: int) -> Caller:
        caller = cls(*await asyncio.open_connection("127.0.0.1", port))
        await caller.expect("220")
        return caller

    async def expect(self, code: str) -> None:
        """The next reply; all its lines."""
        line = b"   -"
        while line[3:4] == b"-":
            line = await self.reader.readuntil(b"\n")
        assert line.decode().startswith(code), line

    async def ask(self, command: bytes, code: str) -> None:
        self.writer.write(command + b"\r\n")
        await self.expect(code)

    async def rest(self) -> bytes:
        """Everything up to the end."""
        try:
            return await self.reader.read(-1)
        except ConnectionResetError:
            return b""

    async def leave(self, number: int) -> None:
        """Every other one by a reset."""
        if number % 2:
            self.writer.transport.abort()
        else:
            self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


Step = Callable[[Caller], Awaitable[None]]
Attack = Callable[[int, int], Coroutine[Any, Any, None]]


async def _by_crowd(port: int, count: int, step: Step) -> None:
    """All are greeted and do their step before the first one leaves."""
    async with asyncio.timeout(TIMEOUT_S):
        callers = await asyncio.gather(*(Caller.greeted(port) for _ in range(count)))
        try:
            await asyncio.gather(*map(step, callers))
        finally:
            await asyncio.gather(*(caller.leave(number) for number, caller in enumerate(callers)))


async def drip_commands(port: int, places: int) -> None:
    """Slowloris: everybody says a little of a command, again and again."""

    async def step(caller: Caller) -> None:
        for octet in b"EHLO very.slow.client":
            caller.writer.write(bytes([octet]))
            await caller.writer.drain()
            await asyncio.sleep(0.02)

    await _by_crowd(port, places, step)


async def say_nothing(port: int, places: int) -> None:
    """Until the door has had enough."""

    async def step(caller: Caller) -> None:
        assert (await caller.rest()).startswith(b"421 4.4.2")

    await _by_crowd(port, places, step)


async def talk_junk(port: int, places: int) -> None:
    """Until the door has had enough of that."""

    async def step(caller: Caller) -> None:
        caller.writer.write(b"\xff\0junk" * 20 + b"\r\nMAIL\r\nDATA\r\n" + b"nonsense\r\n" * 100)
        said = await caller.rest()
        assert not said or b"\r\n421 4.7.0" in said

    await _by_crowd(port, places, step)


async def begin_tls(port: int, places: int) -> None:
    """Half of a handshake."""

    async def step(caller: Caller) -> None:
        await caller.ask(b"EHLO half.open", "250")
        await caller.ask(b"STARTTLS", "220")
        caller.writer.write(HALF_A_HELLO)
        await caller.writer.drain()

    await _by_crowd(port, places, step)


async def begin_text(port: int, places: int) -> None:
    """Most of a message: every other one as much as goes to disk."""
    sizes = itertools.cycle((100_000, len(TEXT)))

    async def step(caller: Caller) -> None:
        await caller.ask(b"EHLO half.way", "250")
        await caller.ask(b"MAIL FROM:<x@example.org>", "250")
        await caller.ask(b"RCPT TO:<ann@example.com>", "250")
        await caller.ask(b"DATA", "354")
        caller.writer.write(TEXT[: next(sizes)])
        await caller.writer.drain()

    await _by_crowd(port, places // 3, step)


def come_and_go(times: int) -> Attack:
    """One after another, a few at once, so many in all; some say a word, some do not even wait for the banner."""

    async def attack(port: int, places: int) -> None:
        numbers = iter(range(times))

        async def visitor() -> None:
            for number in numbers:
                caller = Caller(*await asyncio.open_connection("127.0.0.1", port))
                if number % 4:
                    await caller.expect("220")
                if number % 4 == 2:
                    await caller.ask(b"EHLO short.visit", "250")
                if number % 4 == 3:
                    await caller.ask(b"QUIT", "221")
                await caller.leave(number // 4)

        async with asyncio.timeout(TIMEOUT_S):
            await asyncio.gather(*(visitor() for _ in range(min(AT_ONCE, places))))

    return attack
