"""Mail passes both ways, and what a primary may do to it on the way in."""

from __future__ import annotations

import pytest

from stormsail.domain.replies import Stage
from testkit.gateway import Gateway, message
from testkit.next_hop import NextHop
from testkit.scripted_smtp import Act, Behaviour
from testkit.waiting import wait_until

MARK = {"X_OriginatorOrg": "example.com"}


def sent_on(content: bytes) -> bytes:
    """The content without the two fields that we put on top."""
    position = 0
    for _ in range(2):
        end = content.index(b"\r\n", position)
        while content[end + 2 : end + 3] in (b" ", b"\t"):
            end = content.index(b"\r\n", end + 2)
        position = end + 2
    assert content.startswith(b"Received: from ")
    assert b"\r\nStormsail-Trace: v1; " in content[:position]
    return content[position:]


def test_mail_passes_both_ways_byte_for_byte_and_a_copy_stays(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    incoming = message("in", "tabs\tand  blanks \n.dot\n..dots\n\xe4 umlaut\n" + "x" * 3000)
    assert gateway.send("Ann.Lee+tag@example.com", incoming).startswith("250 2.0.0 Ok: queued as ")
    [taken] = primary.wait_for(1)
    assert (taken.reverse_path, taken.recipients) == ("x@example.org", ["Ann.Lee+tag@example.com"])
    assert sent_on(taken.content) == incoming
    outgoing = message("out", From="Ann Lee <ann@example.com>", To="friend@example.net", **MARK)
    gateway.send("friend@example.net", outgoing, reverse_path="ann@example.com", port=gateway.connector)
    [out] = outside.wait_for(1)
    assert sent_on(out.content) == outgoing
    gateway.wait_for(relayed=1, sent=1)
    token = gateway.add_account("ann@example.com")
    with gateway.as_person(token) as ann:

        def subjects() -> dict[str, str]:
            listed = ann.get("/mailboxes/ann@example.com/messages").json()["messages"]
            return {one["subject"]: one["folder"] for one in listed}

        wait_until(lambda: subjects() == {"in": "inbox", "out": "sent"}, "both copies", detail=lambda: str(subjects()))
        [first] = [
            one for one in ann.get("/mailboxes/ann@example.com/messages").json()["messages"] if one["subject"] == "in"
        ]
        raw = ann.get(f"/messages/{first['id']}/raw").content
    assert raw.startswith(b"Return-Path: <x@example.org>\r\n")
    assert raw.endswith(incoming)
    gateway.assert_sound()


def test_a_message_of_ten_megabytes_passes_unchanged(gateway: Gateway, primary: NextHop) -> None:
    big = message("big", "\n".join(f"{number:064d}.{number}" for number in range(140_000)))
    assert gateway.send("ann@example.com", big).startswith("250")
    [taken] = primary.wait_for(1)
    assert sent_on(taken.content) == big
    gateway.wait_for(relayed=1)
    gateway.assert_sound()


@pytest.mark.parametrize(
    "illness",
    [
        Behaviour(on={Stage.GREETING: "421 4.3.2 not now"}),
        Behaviour(on={Stage.GREETING: "554 5.3.2 closed for good"}),
        Behaviour(on={Stage.CONNECT: Act.RESET}),
        Behaviour(on={Stage.MAIL: "451 4.7.500 Server busy"}),
        Behaviour(on={Stage.MAIL: "550 5.7.1 Unable to relay"}),
        Behaviour(on={Stage.RCPT: "550 5.7.64 TenantAttribution; Relay Access Denied"}),
        Behaviour(on={Stage.RCPT: "554 5.7.1 Client host rejected: Access denied"}),
        Behaviour(on={Stage.RCPT: "550 5.7.606 Access denied, banned sending IP [192.0.2.1]"}),
        Behaviour(on={Stage.DATA: "451 4.3.0 try later"}),
        Behaviour(on={Stage.DOT: "451 4.4.316 Connection refused"}),
        Behaviour(on={Stage.EHLO: b"250-\xff\xfe\x1b[2J\r\nno reply at all\r\n"}),
        Behaviour(on={Stage.MAIL: Act.ENDLESS}),
        Behaviour(on={Stage.RCPT: Act.CLOSE}),
    ],
    ids=lambda behaviour: next(iter(behaviour.on)).value,
)
def test_a_sick_primary_loses_no_mail_and_gets_it_when_it_is_well(
    gateway: Gateway, primary: NextHop, illness: Behaviour
) -> None:
    primary.behave(illness)
    for number in range(3):
        assert gateway.send("ann@example.com", message(f"m{number}")).startswith("250")
    wait_until(lambda: gateway.totals().keys() <= {"deferred", "queued"}, "all deferred", detail=gateway.log)
    assert not primary.taken
    primary.behave()
    primary.wait_for(3, patience_s=30)
    gateway.wait_for(relayed=3)
    assert len(primary.taken) == 3
    gateway.assert_sound()


def test_a_primary_that_only_refuses_connections_or_is_silent_is_waited_for(gateway: Gateway, primary: NextHop) -> None:
    primary.refuse()
    gateway.send("ann@example.com", message("one"))
    gateway.wait_for(deferred=1)
    primary.behave(Behaviour(on={Stage.MAIL: Act.SILENCE}))
    primary.listen()
    wait_until(lambda: any(word.startswith("MAIL") for word in primary.server.commands), "a try")
    primary.refuse()
    primary.behave()
    primary.listen()
    primary.wait_for(1)
    gateway.wait_for(relayed=1)


def test_a_tarpit_only_takes_longer(gateway: Gateway, primary: NextHop) -> None:
    primary.behave(Behaviour(delay_s=0.3))
    gateway.send("ann@example.com", message())
    gateway.wait_for(relayed=1)
    assert len(primary.taken) == 1


def test_each_recipient_has_its_own_fate(gateway: Gateway, primary: NextHop) -> None:
    primary.behave(
        Behaviour(
            recipients={
                "bob@example.com": "452 4.2.2 Mailbox full",
                "carl@example.com": "550 5.1.1 unknown",
                "dora@example.com": ["451 4.3.2 later", "250 2.1.5 ok"],
            }
        )
    )
    gateway.send(["ann@example.com", "bob@example.com", "carl@example.com", "dora@example.com"], message("to four"))
    gateway.wait_for(relayed=2, deferred=1, shielded=1)
    assert sorted(to for one in primary.taken for to in one.recipients) == ["ann@example.com", "dora@example.com"]
    primary.behave()
    gateway.wait_for(relayed=4)
    assert sorted(primary.server.recipients) == sorted(
        ["ann@example.com", "bob@example.com", "carl@example.com", "dora@example.com"]
    )
    gateway.assert_sound()


def test_known_people_are_not_bounced_by_a_primary_that_has_forgotten_them(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    primary.behave(Behaviour(on={Stage.RCPT: "550 5.1.10 RESOLVER.ADR.RecipientNotFound"}))
    gateway.send("ann@example.com", message())
    gateway.wait_for(shielded=1)
    primary.behave()
    gateway.wait_for(relayed=1)
    assert not outside.messages


def test_mail_refused_for_its_content_gives_no_backscatter_and_lies_in_junk(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    primary.behave(Behaviour(on={Stage.DOT: "550 5.7.1 Message rejected as spam"}))
    gateway.send("ann@example.com", message("cheap"))
    gateway.wait_for(refused=1)
    with gateway.as_person(gateway.add_account("ann@example.com")) as ann:
        wait_until(
            lambda: (
                [one["folder"] for one in ann.get("/mailboxes/ann@example.com/messages").json()["messages"]] == ["junk"]
            ),
            "the copy in Junk",
        )
    assert not outside.messages
    gateway.assert_sound()


def test_an_author_of_ours_is_told_once_for_all_recipients_that_failed(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    outside.behave(Behaviour(on={Stage.RCPT: "550 5.1.1 <x> unknown here"}))
    outgoing = message("out", From="ann@example.com", To="many@example.net", **MARK)
    gateway.send(["a@example.net", "b@example.net"], outgoing, reverse_path="ann@example.com", port=gateway.connector)
    [notice] = primary.wait_for(1)
    gateway.wait_for(bounced=2, relayed=1)
    assert notice.reverse_path == ""
    assert notice.recipients == ["ann@example.com"]
    assert notice.content.isascii()
    for line in (b"Final-Recipient: rfc822; a@example.net", b"Final-Recipient: rfc822; b@example.net",
                 b"Action: failed", b"Status: 5.1.1", b"Subject: out"):  # fmt: skip
        assert line in notice.content, line
    assert b"How are you?" not in notice.content
    assert len(primary.messages) == 1


def test_a_notice_that_cannot_be_delivered_raises_no_notice(
    gateway: Gateway, primary: NextHop, outside: NextHop
) -> None:
    outside.behave(Behaviour(on={Stage.RCPT: "550 5.1.1 unknown"}))
    primary.behave(Behaviour(on={Stage.DOT: "550 5.7.1 we take no notices"}))
    outgoing = message("out", From="ann@example.com", **MARK)
    gateway.send("a@example.net", outgoing, reverse_path="ann@example.com", port=gateway.connector)
    gateway.wait_for(bounced=1, refused=1)
    assert len(primary.messages) == 1


def test_the_primarys_size_is_remembered_and_announced_also_after_a_restart(gateway: Gateway, primary: NextHop) -> None:
    primary.behave(Behaviour(keywords=("PIPELINING", "SIZE 100000")))
    gateway.send("ann@example.com", message())
    gateway.wait_for(relayed=1)
    gateway.stop()
    gateway.start()
    with gateway.smtp() as client:
        assert int(client.esmtp_features["size"]) < 100_000
        client.mail("x@example.org")
        client.rcpt("ann@example.com")
        code, text = client.data(message("big", "x\n" * 60_000))
    assert (code, text[:5]) == (552, b"5.3.4")


def test_a_connection_that_is_not_needed_is_closed_by_us(gateway: Gateway, primary: NextHop) -> None:
    gateway.send("ann@example.com", message())
    gateway.wait_for(relayed=1)
    assert primary.server.open_connections == 1
    wait_until(lambda: primary.server.open_connections == 0, "the connection to be closed", 15)
    assert primary.server.commands[-1] == "QUIT"
    gateway.send("ann@example.com", message())
    gateway.wait_for(relayed=2)


def test_a_primary_that_announces_next_to_no_size_closes_no_door(gateway: Gateway, primary: NextHop) -> None:
    """RFC 5321 §4.5.3.1.7: every server takes 64 KiB."""
    primary.behave(Behaviour(keywords=("PIPELINING", "SIZE 1")))
    gateway.send("ann@example.com", message("first"))
    gateway.wait_for(relayed=1)
    with gateway.smtp() as client:
        assert 60_000 < int(client.esmtp_features["size"]) < 65_536
    assert gateway.send("ann@example.com", message("next", "x\n" * 20_000)).startswith("250")


def test_a_reply_that_is_lost_behind_the_dot_costs_one_marked_copy_at_most(gateway: Gateway, primary: NextHop) -> None:
    primary.behave(Behaviour(on={Stage.DOT: [Act.CLOSE, "250 2.0.0 ok"]}))
    gateway.send("ann@example.com", message("once"))
    gateway.wait_for(relayed=1)
    first, second = primary.messages
    assert b"Stormsail-Repeat:" not in first.content
    assert second.content.startswith(b"Stormsail-Repeat: ")
    assert sent_on(second.content.partition(b"\r\n")[2]) == sent_on(first.content)
