"""Replies that are lost on the way: the packet with them never arrives, however often it is sent again.

To senders: they hand in again, and the message stays one. From the primary: the message may arrive once more, marked,
and only then (DESIGN §3.3, §3.4, RFC 1047).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from testkit.checker import Checker, Points
from testkit.correspondent import Correspondent
from testkit.gateway import Gateway, message, running_gateway
from testkit.lives import PEOPLE
from testkit.next_hop import NextHop, next_hop
from testkit.own_network import losing, own_network
from testkit.signs import lost_replies
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

FULL = os.environ.get("STORMSAIL_FULL") == "1"
ROUNDS = 10 if FULL else 1
SESSIONS = 6
ACCEPTED, PRIMARY_TOOK = "2.0.0 Ok: queued as", "2.0.0 ok, message"
Tried = Callable[[str], None]


@contextmanager
def place() -> Iterator[tuple[Gateway, NextHop]]:
    with own_network(), next_hop() as hop, running_gateway(primary=hop.port, started=False) as gateway:
        gateway.config.write_text(gateway.config.read_text().replace("dot_timeout_s = 5", "dot_timeout_s = 1"))
        gateway.start()
        yield gateway, hop


def test_a_sender_whose_250_is_lost_hands_in_again_and_the_message_stays_one(tried: Tried) -> None:
    with place() as (gateway, hop):
        witness = Correspondent(gateway.mx, PEOPLE, sessions=SESSIONS, timeout_s=1)
        points = Points("lost 250")
        checker = Checker(gateway, witness, hop, points)
        witness.start()
        for number in range(1, ROUNDS + 1):
            with losing(ACCEPTED, gateway.mx):
                witness.write(SESSIONS)
                wait_until(partial(lost_so_many, witness, number * SESSIONS), "replies to be lost", 20, gateway.log)
            wait_until(lambda: not witness.busy(), "every letter to be answered 250", 20, gateway.log)
        points.tried["lost reply"] = lost_replies(witness)
        witness.finish()
        tried(checker.check())
        assert not any(b"Stormsail-Repeat: " in one.content for one in hop.messages)
        assert gateway.totals()["absorbed"] >= lost_replies(witness)


def lost_so_many(witness: Correspondent, count: int) -> bool:
    return lost_replies(witness) >= count


@pytest.mark.parametrize("farewell", [b"", b"QUIT\r\n", b"RSET\r\n"])
def test_a_sender_that_says_something_without_having_seen_the_250_has_not_confirmed_it(farewell: bytes) -> None:
    with place() as (gateway, hop):
        with losing(ACCEPTED, gateway.mx), SmtpTalk(gateway.mx, timeout_s=1) as talk:
            talk.hello().data(PEOPLE[0])
            talk.send(message("alarm") + b".\r\n")
            with pytest.raises(TimeoutError):
                talk.reply()
            talk.send(farewell)
        hop.wait_for(1)
        assert "repeat of" in gateway.send(PEOPLE[0], message("alarm"))
        gateway.wait_for(relayed=1, absorbed=1)
        assert "queued as" in gateway.send(PEOPLE[0], message("alarm")), "an alarm that is meant was swallowed"
        hop.wait_for(2)
        gateway.assert_sound()


def test_a_message_whose_reply_from_the_primary_is_lost_comes_once_more_and_says_so(tried: Tried) -> None:
    with place() as (gateway, hop):
        witness = Correspondent(gateway.mx, PEOPLE)
        points = Points("lost reply of the primary")
        checker = Checker(gateway, witness, hop, points)
        witness.start()
        for _ in range(ROUNDS):
            with losing(PRIMARY_TOOK, hop.port):
                checker.lives += 1
                witness.write(4)
                wait_until(partial(in_doubt, gateway, 4), "deliveries in doubt", 20, gateway.log)
            wait_until(lambda: set(gateway.totals()) == {"relayed"}, "everything to be relayed", 20, gateway.log)
        witness.finish()
        points.tried["lost reply"] = sum(b"Stormsail-Repeat: " in one.content for one in hop.messages)
        tried(checker.check())
        assert points.tried["lost reply"] >= ROUNDS * 4


def in_doubt(gateway: Gateway, count: int) -> bool:
    """So many deliveries wait for another attempt because nobody knows what became of the last one."""
    return gateway.totals().get("outcome_unknown", 0) >= count
