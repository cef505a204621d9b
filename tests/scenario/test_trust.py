"""Who may use which door, what goes in circles, and which message is a repeat."""

from __future__ import annotations

import socket

import pytest

from testkit.gateway import Gateway, message
from testkit.next_hop import NextHop
from testkit.waiting import wait_until

MARK = {"X_OriginatorOrg": "example.com"}


@pytest.mark.parametrize(
    "marks",
    [
        b"",
        b"X-OriginatorOrg: evil.example\r\n",
        b"X-OriginatorOrg: example.com\r\nX-OriginatorOrg: example.com\r\n",
        b"X-OriginatorOrg: example.com\r\nx-originatororg : evil.example\r\n",
        b"X-OriginatorOrg: example.com, evil.example\r\n",
        b"X-OriginatorOrg: example.com.evil.example\r\n",
        b"Subject: x\r\n\r\nX-OriginatorOrg: example.com\r\n",
    ],
    ids=["missing", "wrong", "doubled", "doubled otherwise", "two values", "longer", "in the body"],
)
def test_the_connector_takes_only_what_bears_the_tenants_mark_once(
    gateway: Gateway, outside: NextHop, marks: bytes
) -> None:
    answer = gateway.send("a@example.net", marks + message(), reverse_path="ann@example.com", port=gateway.connector)
    assert answer.startswith("550 5.7.1")
    good = message(**MARK)
    assert gateway.send("a@example.net", good, reverse_path="ann@example.com", port=gateway.connector)[:3] == "250"
    outside.wait_for(1)
    assert len(outside.messages) == 1


@pytest.mark.parametrize(
    "recipient",
    [
        "a@example.net", "a%example.net@example.org", "@example.com:a@example.net", '"a@example.net"@example.org',
        "a@[127.0.0.1]", "a@example.com@example.net", "example.net!a@example.org",
        "a%example.net@example.com", "example.net!a@example.com", '"a@example.net"@example.com', "|a@example.com",
    ],
)  # fmt: skip
def test_the_mx_door_is_no_open_relay_in_any_form_of_address(gateway: Gateway, recipient: str) -> None:
    with gateway.smtp() as client:
        client.mail("x@example.org")
        code, _ = client.docmd("RCPT", f"TO:<{recipient}>")
        assert 500 <= code < 600


def test_who_left_reads_no_mail_of_the_colleague_that_has_inherited_the_address(gateway: Gateway) -> None:
    carl, dora = (gateway.add_account(f"{name}@example.com") for name in ("carl", "dora"))
    gateway.send("dora@example.com", message("for dora"))
    file = gateway.folder / "mailboxes.csv"
    rows = [row for row in file.read_text().splitlines(keepends=True) if not row.startswith("carl@")]
    text = "".join(rows).replace("Dora Day,london,mailbox,,", "Dora Day,london,mailbox,carl@example.com,")
    file.write_text(text.replace("bob@example.com carl@example.com", "bob@example.com"))
    assert gateway.cli("reload").returncode == 0
    with gateway.as_person(carl) as left, gateway.as_person(dora) as stays:
        wait_until(lambda: left.get("/mailboxes").status_code == 401, "the account to be closed")
        assert left.get("/mailboxes/dora@example.com/messages").status_code == 401
        assert stays.get("/mailboxes").status_code == 200


def test_a_redirect_may_pass_us_twice_and_a_loop_ends(gateway: Gateway, primary: NextHop, outside: NextHop) -> None:
    gateway.send("ann@example.com", message("redirected"))
    [first] = primary.wait_for(1)
    redirected = b"X-OriginatorOrg: example.com\r\n" + first.content
    answer = gateway.send("ann@home.example", redirected, reverse_path="x@example.org", port=gateway.connector)
    assert answer.startswith("250")
    [out] = outside.wait_for(1)
    assert out.content.count(b"Stormsail-Trace: v1;") == 2
    # The world sends it back to the same mailbox, again and again.
    again = gateway.send("ann@example.com", out.content)
    assert again.startswith("250")
    primary.wait_for(2)
    third = primary.taken[1].content
    assert gateway.send("ann@example.com", third).startswith("554 5.4.6")


def test_connector_mail_for_our_own_domain_goes_back_once(gateway: Gateway, primary: NextHop) -> None:
    first = message("between colleagues", From="bob@example.com", **MARK)
    assert gateway.send("ann@example.com", first, reverse_path="bob@example.com", port=gateway.connector)[:3] == "250"
    [back] = primary.wait_for(1)
    answer = gateway.send("ann@example.com", back.content, reverse_path="bob@example.com", port=gateway.connector)
    assert answer.startswith("554 5.4.6")


def test_a_message_that_has_passed_a_hundred_hosts_is_in_a_loop(gateway: Gateway) -> None:
    worn = b"Received: from a by b; date\r\n" * 101 + message()
    assert gateway.send("ann@example.com", worn).startswith("554 5.4.6")
    assert gateway.send("ann@example.com", worn[29:]).startswith("250")


def test_equal_messages_that_were_confirmed_stay_two(gateway: Gateway, primary: NextHop) -> None:
    alarm = message("disk full")
    assert gateway.send("ann@example.com", alarm)[:3] == "250"
    assert gateway.send("ann@example.com", alarm)[:3] == "250"
    primary.wait_for(2)
    gateway.wait_for(relayed=2)


def test_a_message_sent_again_after_its_reply_was_lost_stays_one(gateway: Gateway, primary: NextHop) -> None:
    alarm = message("disk full")
    lose_reply(gateway.mx, "ann@example.com", alarm)
    gateway.wait_for(relayed=1)
    answer = gateway.send("ann@example.com", alarm)
    assert answer.startswith("250 2.0.0 Ok: repeat of ")
    gateway.wait_for(relayed=1, absorbed=1)
    assert len(primary.messages) == 1
    # The sender knows now: the same alarm again is a new one.
    assert "queued as" in gateway.send("ann@example.com", alarm)
    gateway.wait_for(relayed=2, absorbed=1)
    gateway.assert_sound()


def test_a_lost_reply_is_remembered_over_a_crash(gateway: Gateway, primary: NextHop) -> None:
    alarm = message("disk full")
    lose_reply(gateway.mx, "ann@example.com", alarm)
    gateway.wait_for(relayed=1)
    gateway.kill()
    gateway.start()
    assert "repeat of" in gateway.send("ann@example.com", alarm)
    assert "repeat of" not in gateway.send("bob@example.com", alarm)
    gateway.wait_for(relayed=2, absorbed=1)


def test_unknown_recipients_are_asked_for_at_the_primary_and_its_illness_is_no_answer(
    gateway: Gateway, primary: NextHop
) -> None:
    primary.server.behaviour.recipients["ghost@example.com"] = "550 5.1.1 no such user"
    assert gateway.send("ghost@example.com", message()).startswith("550 5.1.1")
    assert gateway.send("new@example.com", message())[:3] == "250"
    primary.refuse()
    assert gateway.send("other@example.com", message()).startswith("450 4.1.1")
    assert gateway.send("new@example.com", message())[:3] == "250"
    assert [one["address"] for one in gateway.api("GET", "/directory/learnt")["addresses"]] == ["new@example.com"]


def test_during_an_event_nobody_is_refused_for_being_unknown(gateway: Gateway, primary: NextHop) -> None:
    primary.server.behaviour.recipients["ghost@example.com"] = "550 5.1.1 no such user"
    gateway.cli_json("activate", "--scope", "all", "--reason", "test")
    assert gateway.send("ghost@example.com", message()).startswith("450 4.1.1")


def lose_reply(port: int, recipient: str, content: bytes) -> None:
    """Hands in a message and is gone before the reply to its dot is read."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as peer:
        stream = peer.makefile("rb")
        stream.readline()
        for line in (
            b"HELO client.test",
            b"MAIL FROM:<x@example.org>",
            b"RCPT TO:<" + recipient.encode() + b">",
            b"DATA",
        ):
            peer.sendall(line + b"\r\n")
            stream.readline()
        peer.sendall(content + b".\r\n")
        wait_until(lambda: stream.peek(1)[:1] == b"2", "the reply that nobody will read")
