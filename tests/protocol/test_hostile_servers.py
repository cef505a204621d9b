"""Next hops that misbehave: mail is neither lost nor doubled unmarked, and nobody else notices (DESIGN §3.4, §3.12).

All of the mischief happens at once, each piece in a lane of its own: first to mail that is relayed, then to mail that
an event has held and hands back. RFC 5321 §4.2, §4.2.4, §4.5.3.2; RFC 2920 §3.1; RFC 3207 §4.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from itertools import pairwise

import pytest

from testkit.certificates import Authority, server_context
from testkit.deeds import mischief
from testkit.process_facts import Cost, cost_of
from testkit.siege import HonestTraffic, Siege, siege_of
from testkit.waiting import wait_until

NAMES = list(mischief(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)))
DRAINED = [name for name in NAMES if " at " not in name or name.endswith(" at dot")]
"""For these the event comes too: an attempt of a drain differs from others only before and after it."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
MEMORY_MIB = 120
"""By which all of it together may have made the gateway grow at the worst moment."""
HONEST_S = 5.0


@pytest.fixture(scope="module")
def siege(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with siege_of(mischief(server_context(authority.issue(["127.0.0.1"])))) as siege:
        yield siege


@pytest.fixture(scope="module")
def before(siege: Siege) -> Cost:
    """The gateway's cost after all lanes have had honest mail."""
    siege.send_to(NAMES)
    wait_until(lambda: siege.gateway.totals() == {"relayed": len(NAMES)}, "mail in honest times", 20)
    return cost_of(siege.gateway.pid)


@pytest.fixture(scope="module")
def relayed(siege: Siege, before: Cost) -> Siege:
    """Mail that was relayed to wicked hops, and again when they had turned honest."""
    traffic = HonestTraffic(siege)
    traffic.start()
    siege.turn_wicked(NAMES)
    siege.send_to(NAMES)
    siege.wait_until_all_have_acted()
    siege.turn_honest()
    traffic.stop()
    siege.listen_in()
    assert traffic.count > 5
    _wait_until_all_is_relayed(siege, 2, len(NAMES))
    return siege


@pytest.fixture(scope="module")
def drained(relayed: Siege) -> Siege:
    """Mail that events have held, each for one domain, and hand back to wicked hops."""
    siege, api = relayed, relayed.gateway.api
    scopes = [f"domain:{siege.domain(name)}" for name in DRAINED]
    events = [api("POST", "/events", json={"scope": scope, "reason": "siege"})["id"] for scope in scopes]
    siege.send_to(DRAINED)
    wait_until(lambda: siege.gateway.totals().get("held") == len(DRAINED), "all to be held", 20)
    siege.turn_wicked(DRAINED)
    for event in events:
        api("POST", f"/events/{event}/end", json={"force": True})
    siege.wait_until_all_have_acted()
    siege.turn_honest()
    siege.listen_in()
    _wait_until_all_is_relayed(siege, 3, len(DRAINED))
    return siege


def _wait_until_all_is_relayed(siege: Siege, round_: int, count: int) -> None:
    gateway = siege.gateway
    wait_until(lambda: not set(gateway.totals()) - {"relayed"}, "all to be relayed", 40,
               lambda: f"{gateway.totals()}\n{gateway.log()}")  # fmt: skip
    states = [one["state"] for message in siege.traces(round_) for one in message["deliveries"]]
    assert states == ["relayed"] * count


def assert_one_unmarked_copy(siege: Siege, name: str, round_: int) -> None:
    """One copy was answered 250; a further one came only behind a clear refusal or with its mark."""
    copies = siege.copies(name, round_)
    history = [(copy.answer[:40], "marked" if copy.marked else "unmarked") for copy in copies]
    assert [copy.answer[:4] for copy in copies].count(b"250 ") == 1, history
    assert copies[-1].answer.startswith(b"250 "), history
    assert all(earlier.refused or later.marked for earlier, later in pairwise(copies)), history


def assert_unchanged(siege: Siege, name: str, round_: int) -> None:
    content = siege.copies(name, round_)[-1].content
    head, _, body = content.partition(b"\r\n\r\n")
    assert head.endswith(f"Subject: {siege.subject(name, round_)}".encode())
    assert body.replace(b"y" * 70 + b"\r\n", b"") in (b"", b"\r\n")
    assert len(body) > siege.mischief[name].octets


@pytest.mark.parametrize("name", NAMES)
def test_relayed_mail_arrives_once_when_the_hop_turns_honest(relayed: Siege, name: str) -> None:
    assert_one_unmarked_copy(relayed, name, 2)
    assert_unchanged(relayed, name, 2)


@pytest.mark.parametrize("name", DRAINED)
def test_held_mail_arrives_once_when_the_hop_turns_honest(drained: Siege, name: str) -> None:
    assert_one_unmarked_copy(drained, name, 3)
    assert_unchanged(drained, name, 3)


def test_what_a_hop_says_is_told_to_people_only_escaped(drained: Siege) -> None:
    assert "?[2J" in drained.told, "something of it is told"
    found = CONTROL.search(drained.told)
    assert not found, repr(drained.told[found.start() - 200 : found.end() + 50])


def test_memory_stays_bounded_and_everything_is_given_back(drained: Siege, before: Cost) -> None:
    pid = drained.gateway.pid
    assert cost_of(pid).most_memory - before.most_memory < MEMORY_MIB
    wait_until(lambda: cost_of(pid).sockets <= before.sockets, "connections to be closed", 20,
               lambda: f"{before} {cost_of(pid)}")  # fmt: skip


def test_mail_to_an_honest_hop_goes_on_meanwhile(relayed: Siege) -> None:
    assert relayed.longest_wait_s < HONEST_S


def test_nothing_that_a_hop_does_is_a_fault_of_ours(drained: Siege) -> None:
    lines = (drained.gateway.folder / "log").read_text().splitlines()
    faults = [line for line in lines if "Traceback" in line or "never retrieved" in line]
    assert not faults


def test_the_books_balance(drained: Siege) -> None:
    drained.gateway.assert_sound()
