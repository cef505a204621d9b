"""Where mail to the internet goes: MX in order, fallbacks, null MX (RFC 5321 §5.1, RFC 7505), a smarthost with a login."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from stormsail.domain.errors import NextHopUnavailable
from stormsail.resolver import MailHost, NoMailHost, Resolver
from testkit.gateway import Gateway, message, running_gateway
from testkit.name_server import NameServer, Zone, name_server
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Behaviour

ZONE: Zone = {
    ("two.example", "MX"): ["20 second.two.example.", "10 first.two.example."],
    ("first.two.example", "A"): ["127.0.0.2"],
    ("second.two.example", "A"): ["127.0.0.1"],
    ("plain.example", "A"): ["127.0.0.1"],
    ("six.example", "MX"): ["10 mail.six.example."],
    ("mail.six.example", "AAAA"): ["::1"],
    ("none.example", "MX"): ["0 ."],
    ("empty.example", "TXT"): ['"nothing here takes mail"'],
    ("lost.example", "MX"): ["10 nowhere.example."],
    ("half.example", "MX"): ["10 mail.half.example."],
    ("mail.half.example", "A"): ["127.0.0.1"],
}
BROKEN = {("down.example", "MX"), ("mail.half.example", "AAAA")}


def hosts_of(server: NameServer, domain: str) -> list[MailHost]:
    return asyncio.run(Resolver([server.place]).mail_hosts(domain))


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    with name_server(ZONE, BROKEN) as server:
        yield server


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("two.example", [("first.two.example", ("127.0.0.2",)), ("second.two.example", ("127.0.0.1",))]),
        ("plain.example", [("plain.example", ("127.0.0.1",))]),
        ("six.example", [("mail.six.example", ("::1",))]),
        ("half.example", [("mail.half.example", ("127.0.0.1",))]),
        ("[192.0.2.7]", [("192.0.2.7", ("192.0.2.7",))]),
    ],
    ids=["by preference", "without MX its own address", "IPv6 only", "one kind of address broken", "a literal"],
)
def test_hosts_come_in_the_order_in_which_they_are_to_be_tried(
    names: NameServer, domain: str, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert [(host.name, host.addresses) for host in hosts_of(names, domain)] == expected


@pytest.mark.parametrize("domain", ["none.example", "empty.example", "unheard-of.example"])
def test_a_domain_that_takes_no_mail_is_known_for_certain(names: NameServer, domain: str) -> None:
    with pytest.raises(NoMailHost):
        hosts_of(names, domain)


@pytest.mark.parametrize("domain", ["down.example", "lost.example"])
def test_what_dns_does_not_say_may_be_said_later(names: NameServer, domain: str) -> None:
    with pytest.raises(NextHopUnavailable):
        hosts_of(names, domain)


@contextmanager
def sending_by_mx(names: NameServer, hop: NextHop) -> Iterator[Gateway]:
    """A gateway that finds its way by these names; every mail host listens on the hop's port."""
    more = f'mx_port = {hop.port}\nmx_tls = "none"\nresolvers = ["{names.place}"]'
    with running_gateway(primary=hop.port, more=more, started=False) as gateway:
        words = gateway.config.read_text()
        gateway.config.write_text(words.replace('route = "smarthost"', 'route = "mx"'))
        gateway.start()
        yield gateway


def send_out(gateway: Gateway, recipient: str) -> None:
    letter = message("out", X_OriginatorOrg="example.com")
    assert gateway.send(recipient, letter, reverse_path="ann@example.com", port=gateway.connector)[:3] == "250"


def test_mail_goes_to_the_next_host_where_the_first_is_down_and_back_to_its_author_where_there_is_none(
    names: NameServer,
) -> None:
    with next_hop() as hop, sending_by_mx(names, hop) as gateway:
        send_out(gateway, "x@two.example")
        [taken] = hop.wait_for(1)
        assert taken.recipients == ["x@two.example"]
        send_out(gateway, "x@none.example")
        notice = hop.wait_for(2)[1]
        assert (notice.reverse_path, notice.recipients) == ("", ["ann@example.com"])
        assert b"5.1.10" in notice.content
        send_out(gateway, "x@down.example")
        gateway.wait_for(sent=1, bounced=1, relayed=1, deferred=1)


def test_a_smarthost_is_told_who_we_are(tmp_path_factory: pytest.TempPathFactory) -> None:
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text("swordfish\n")
    keywords = ("PIPELINING", "AUTH PLAIN LOGIN", "SIZE 52428800")
    more = f'smarthost_user = "gateway"\nsmarthost_password = {{ file = "{secret}" }}'
    with (
        next_hop(Behaviour(keywords=keywords)) as hop,
        running_gateway(primary=hop.port, outside=hop.port, more=more) as gateway,
    ):
        send_out(gateway, "x@elsewhere.example")
        hop.wait_for(1)
        [said] = [one for one in hop.server.commands if one.upper().startswith("AUTH")]
        kind, words = said.split()[1:]
        assert kind == "PLAIN"
        assert base64.b64decode(words) == b"\0gateway\0swordfish"
