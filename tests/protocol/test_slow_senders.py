"""Honest slow senders have all the time they need, many at once need no more memory than is allowed, and a fast one
is served meanwhile (RFC 5321 §4.5.3.2; DESIGN §6, §7).

25 MB at 0.5 Mbit/s take 400 s: that is the form with STORMSAIL_FULL=1. The short one has the same pace, its pauses and
limits, and less of it: still longer than the time that a peer may be silent, and more than memory would hold.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from testkit.gateway import Gateway, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.process_facts import cost_of, forget_most_memory
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
BYTES_A_SECOND = 62_500
PAUSE_S = 0.2
SILENCE_S = 2
SENDERS = 50
ONE_SIZE = 25_000_000 if FULL else 300_000
EACH_SIZE = 2_500_000 if FULL else 400_000
DATA_MEMORY = 18_000_000
"""Less than fifty short messages are together."""
SLACK_MIB = 24
"""What the process may need for the sessions themselves and for the fast sender's mail."""
FAST_S = 2.0


@pytest.fixture(scope="module")
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


@pytest.fixture(scope="module")
def gateway(primary: NextHop) -> Iterator[Gateway]:
    with running_gateway(primary=primary.port, started=False) as gateway:
        limits = f"disk_reserve = 1048576\nread_timeout_s = {SILENCE_S}\ndata_memory = {DATA_MEMORY}"
        gateway.configure(primary=primary.port, outside=primary.port, limits=limits)
        gateway.start()
        yield gateway


def pieces_of(name: str, size: int) -> list[bytes]:
    """A message as it comes over a line of half a megabit a second, without its end."""
    content = f"Subject: {name}\r\n\r\n".encode() + (b"y" * 70 + b"\r\n") * (size // 72)
    step = int(BYTES_A_SECOND * PAUSE_S)
    return [content[start : start + step] for start in range(0, len(content), step)]


def send_slowly(gateway: Gateway, name: str, size: int) -> tuple[str, float]:
    """The reply to the message and the seconds that its text took."""
    with SmtpTalk(gateway.mx, source="127.0.0.2", timeout_s=60) as talk:
        talk.hello().data("ann@example.com")
        took = talk.drip(pieces_of(name, size), PAUSE_S)
        return talk.ask(b"."), took


def arrived(primary: NextHop, name: str) -> list[bytes]:
    return [one.content for one in primary.taken if f"Subject: {name}\r\n".encode() in one.content]


def test_a_message_at_half_a_megabit_a_second_is_taken_however_long_it_takes(
    gateway: Gateway, primary: NextHop
) -> None:
    reply, took = send_slowly(gateway, "slow and large", ONE_SIZE)
    assert reply.startswith("250"), reply
    assert took > max(2 * SILENCE_S, 0.9 * ONE_SIZE / BYTES_A_SECOND)
    wait_until(lambda: arrived(primary, "slow and large"), "the message")
    [content] = arrived(primary, "slow and large")
    assert content.endswith(b"".join(pieces_of("slow and large", ONE_SIZE)))


def test_fifty_slow_senders_stay_within_the_memory_and_a_fast_one_is_served_meanwhile(
    gateway: Gateway, primary: NextHop
) -> None:
    assert SENDERS * EACH_SIZE > DATA_MEMORY
    before = cost_of(gateway.pid)
    forget_most_memory(gateway.pid)
    with ThreadPoolExecutor(SENDERS) as pool:
        sending = [pool.submit(send_slowly, gateway, f"slow {number}", EACH_SIZE) for number in range(SENDERS)]
        longest, count = _send_fast_while(gateway, sending)
    assert {one.result()[0][:3] for one in sending} == {"250"}
    assert count > 10
    assert longest < FAST_S
    assert cost_of(gateway.pid).most_memory - before.memory < DATA_MEMORY / 1_048_576 + SLACK_MIB
    wait_until(lambda: len({_number(one.content) for one in primary.taken}) == SENDERS + 1, "all fifty", 30)
    gateway.assert_sound()


def _send_fast_while(gateway: Gateway, sending: list[Future[tuple[str, float]]]) -> tuple[float, int]:
    """How long a small message took at most while others sent, and how many there were."""
    longest, count = 0.0, 0
    with SmtpTalk(gateway.mx, source="127.0.0.3") as talk:
        talk.hello()
        while wait(sending, timeout=0.1).not_done:
            began = time.monotonic()
            talk.data("bob@example.com")
            assert talk.ask(b"Subject: fast\r\n\r\nhello\r\n.").startswith("250")
            longest = max(longest, time.monotonic() - began)
            count += 1
    return longest, count


def _number(content: bytes) -> bytes | None:
    """The number in the subject of a slow message; None for others."""
    found = re.search(rb"\r\nSubject: slow (\d+)\r\n", content)
    return found.group(1) if found else None
