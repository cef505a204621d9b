"""Gateways on loaded data, and how long their API takes.

In: a plan of `loader`, a next hop. Out: a running gateway with its directory of many mailboxes; seconds of calls.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx

from bench.letters import VOCABULARY, word
from bench.loader import Plan, address, directory_csv, load
from testkit.gateway import Gateway, running_gateway
from testkit.waiting import wait_until

FEWEST = 60
"""Mailboxes and messages of the shortest forms."""
QUERIES = 20
PATIENCE_S = 60


def scaled(number: int, scale: float, least: int = FEWEST) -> int:
    """So many, made fewer."""
    return max(least, int(number * scale))


@contextmanager
def loaded_gateway(plan: Plan, primary: int, *, more: str = "", started: bool = True) -> Iterator[Gateway]:
    """A gateway whose data are as planned; its primary and smarthost are at the loopback port `primary`."""
    with running_gateway(primary=primary, outside=primary, more=more, started=False) as gateway:
        (gateway.folder / "mailboxes.csv").write_text(directory_csv(plan.mailboxes))
        load(gateway.data, plan)
        if started:
            gateway.start()
        yield gateway


@contextmanager
def kept_aside(gateway: Gateway) -> Iterator[Path]:
    """A copy of the data of a gateway that is not running, for `put_back`."""
    aside = gateway.folder / "aside"
    shutil.copytree(gateway.data, aside)
    try:
        yield aside
    finally:
        shutil.rmtree(aside)


def put_back(gateway: Gateway, aside: Path) -> None:
    """The gateway, which is not running, has the data that were kept."""
    shutil.rmtree(gateway.data)
    shutil.copytree(aside, gateway.data)


def start_s(gateway: Gateway) -> float:
    """Starts the gateway; seconds until it says that it is ready."""
    began = time.perf_counter()
    gateway.start()
    return time.perf_counter() - began


def reader_of(gateway: Gateway, mailbox: int) -> httpx.Client:
    """The API over TCP as the owner of a mailbox, who gets an account by it."""
    given = {"address": address(mailbox), "password": "correct horse battery"}
    gateway.api("POST", "/accounts", json={**given, "role": "staff"})
    answer = httpx.post(f"http://127.0.0.1:{gateway.http}/api/v1/session", json=given, timeout=PATIENCE_S)
    answer.raise_for_status()
    return gateway.as_person(answer.json()["token"])


def list_ms(client: httpx.Client, mailbox: int, query: str = "") -> float:
    """Milliseconds until the first page of a mailbox, or of what is found in it, is there as a whole."""
    words = {"q": query} if query else {}
    began = time.perf_counter()
    answer = client.get(f"/mailboxes/{quote(address(mailbox))}/messages", params=words)
    took = time.perf_counter() - began
    if answer.status_code != 200 or (not query and not answer.json()["messages"]):
        raise AssertionError(f"the mailbox cannot be listed: {answer.status_code} {answer.text[:300]}")
    return took * 1000


def queries() -> list[str]:
    """Words from the most frequent to the rarest, two together, beginnings, fields, and one that is nowhere."""
    ranks = [int(VOCABULARY ** (step / 13)) - 1 for step in range(13)]
    single = [word(rank) for rank in ranks]
    fields = [f"subject:{word(3)}", f"from:{word(40)}", f"{word(2)} {word(9)}", f"{word(1)} {word(4000)}"]
    return [*single, *fields, word(7)[:2], f'"{word(0)} {word(1)}"', "xyzzy"]


def wait_until_idle(gateway: Gateway, patience_s: float = 600) -> None:
    """Until every message has its copy and every copy is readable."""

    def idle() -> bool:
        [copies] = [one for one in gateway.status()["own_health"] if one["name"] == "copies"]
        return str(copies["detail"]).startswith("0 messages to file, 0 to prepare")

    wait_until(idle, "the copies", patience_s)
