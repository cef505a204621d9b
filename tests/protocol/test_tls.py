"""STARTTLS on our door and towards the primary (RFC 3207, RFC 8314 §3, RFC 7435)."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from stormsail.domain.replies import Stage
from testkit.certificates import Authority, CertificateFiles, client_context, server_context
from testkit.gateway import Gateway, message, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Act, Behaviour
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ANN = "ann@example.com"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


def install(gateway: Gateway, files: CertificateFiles) -> None:
    """Puts a certificate where the configuration names it."""
    shutil.copy(files.certificate, gateway.folder / "fullchain.pem")
    shutil.copy(files.key, gateway.folder / "privkey.pem")


@pytest.fixture
def door(primary: NextHop, authority: Authority) -> Iterator[Gateway]:
    """A gateway with a certificate of its own."""
    tls = '[tls]\ncertificate = "fullchain.pem"\nkey = "privkey.pem"'
    with running_gateway(primary=primary.port, more=tls, started=False) as gateway:
        install(gateway, authority.issue(["mx.example.com"]))
        gateway.start()
        yield gateway


# ── our door ──


def test_mail_comes_in_encrypted_and_the_trace_says_so(door: Gateway, primary: NextHop, authority: Authority) -> None:
    with SmtpTalk(door.mx) as talk:
        assert "250-STARTTLS" in talk.hello().ask("EHLO client.test").split("\n")
        assert talk.ask("STARTTLS").startswith("220 2.0.0")
        talk.start_tls(client_context(authority.certificate), "mx.example.com")
        assert "STARTTLS" not in talk.ask("EHLO client.test")
        assert talk.ask("STARTTLS")[:3] == "503"
        talk.data(ANN)
        assert talk.ask(message("encrypted") + b".").startswith("250")
        assert talk.ask("QUIT").startswith("221")
    [taken] = primary.wait_for(1)
    assert b"\tby mx.example.com with ESMTPS id " in taken.content


def test_what_was_said_before_the_handshake_is_forgotten(door: Gateway, authority: Authority) -> None:
    with SmtpTalk(door.mx) as talk:
        talk.hello().envelope(ANN)
        assert talk.ask("STARTTLS").startswith("220")
        talk.start_tls(client_context(authority.certificate), "mx.example.com")
        assert talk.ask("DATA").startswith("503")
        assert talk.ask("MAIL FROM:<x@example.org>").startswith("503"), "EHLO has to be said again"
        talk.ask("EHLO client.test")
        assert talk.ask("DATA").startswith("503")


def test_a_command_injected_before_the_handshake_is_never_executed(
    door: Gateway, primary: NextHop, authority: Authority
) -> None:
    with SmtpTalk(door.mx) as talk:
        talk.hello()
        talk.send(b"STARTTLS\r\nEHLO evil.test\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<ann@example.com>\r\n")
        assert talk.reply().startswith("220")
        talk.start_tls(client_context(authority.certificate), "mx.example.com")
        assert talk.ask("NOOP") == "250 2.0.0 Ok", "replies to the injected commands came through"
        assert talk.ask("RCPT TO:<bob@example.com>").startswith("503")
        talk.ask("EHLO client.test")
        talk.data("bob@example.com")
        assert talk.ask(message("mine") + b".").startswith("250")
    [taken] = primary.wait_for(1)
    assert taken.recipients == ["bob@example.com"]


@pytest.mark.parametrize("junk", [b"NOOP\r\n", b"\x16\x03\x01\x00\x05hello", b"\0" * 2000])
def test_a_handshake_that_is_none_ends_only_its_own_session(door: Gateway, junk: bytes) -> None:
    with SmtpTalk(door.mx) as talk:
        talk.hello()
        assert talk.ask("STARTTLS").startswith("220")
        talk.send(junk)
        talk.no_more()
        assert not talk.rest().startswith(b"250")
    with SmtpTalk(door.mx) as talk:
        assert talk.hello().ask("NOOP").startswith("250")


def test_old_protocols_are_not_spoken(door: Gateway) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with SmtpTalk(door.mx) as talk:
        talk.hello()
        assert talk.ask("STARTTLS").startswith("220")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            talk.start_tls(context, "mx.example.com")


def shown_certificate(gateway: Gateway, authority: Authority, name: str) -> bool:
    """Whether the door shows a certificate for that name."""
    with SmtpTalk(gateway.mx) as talk:
        talk.hello()
        talk.ask("STARTTLS")
        try:
            talk.start_tls(client_context(authority.certificate), name)
        except ssl.SSLCertVerificationError:
            return False
        return talk.ask("NOOP").startswith("250")


def test_a_reload_shows_the_new_certificate_and_keeps_the_old_one_where_the_new_is_broken(
    door: Gateway, authority: Authority
) -> None:
    assert shown_certificate(door, authority, "mx.example.com")
    install(door, authority.issue(["renewed.example.com"]))
    assert not shown_certificate(door, authority, "renewed.example.com")
    with SmtpTalk(door.mx) as running:
        running.hello()
        assert door.cli("reload").returncode == 0
        assert shown_certificate(door, authority, "renewed.example.com")
        assert running.ask("NOOP").startswith("250"), "an open session goes on"
    (door.folder / "privkey.pem").write_text("no key")
    refused = door.cli("reload")
    assert refused.returncode == 1
    assert b"certificate" in refused.stderr
    assert shown_certificate(door, authority, "renewed.example.com")


# ── towards the primary ──


@pytest.fixture
def relaying(primary: NextHop, authority: Authority) -> Iterator[Gateway]:
    """A gateway whose primary's TLS mode is set by `use`."""
    with running_gateway(primary=primary.port, started=False) as gateway:
        yield gateway


def use(gateway: Gateway, mode: str, authority: Authority) -> None:
    """Sets the mode and starts; the primary's certificate has to be from the authority."""
    text = gateway.config.read_text()
    trusting = f'tls = "{mode}"\ntls_ca = "{authority.certificate}"\n'
    gateway.config.write_text(text.replace('tls = "none"\n', trusting, 1))
    gateway.start()


def test_required_tls_relays_to_a_primary_with_a_good_certificate(
    relaying: Gateway, primary: NextHop, authority: Authority
) -> None:
    primary.behave(Behaviour(tls=server_context(authority.issue(["127.0.0.1"]))))
    use(relaying, "require", authority)
    relaying.send(ANN, message())
    relaying.wait_for(relayed=1)
    [taken] = primary.taken
    assert taken.tls
    starts = [word for word in primary.server.commands if word.startswith(("EHLO", "STARTTLS", "MAIL"))]
    assert [word[:4] for word in starts] == ["EHLO", "STAR", "EHLO", "MAIL"]


def bad_certificate(kind: str, authority: Authority, folder: Path) -> CertificateFiles:
    match kind:
        case "wrong name":
            return authority.issue(["other.example.com"])
        case "expired":
            return authority.issue(["127.0.0.1"], expired=True)
        case _:
            return Authority(folder / "foreign").issue(["127.0.0.1"])


@pytest.mark.parametrize("kind", ["wrong name", "expired", "foreign authority"])
def test_required_tls_waits_for_a_good_certificate_and_never_falls_back(
    relaying: Gateway, primary: NextHop, authority: Authority, tmp_path: Path, kind: str
) -> None:
    primary.behave(Behaviour(tls=server_context(bad_certificate(kind, authority, tmp_path))))
    use(relaying, "require", authority)
    relaying.send(ANN, message(kind))
    wait_until(lambda: primary.server.commands.count("STARTTLS") >= 2, "another try")
    assert set(relaying.totals()) == {"deferred"}
    assert not any(word.startswith("MAIL") for word in primary.server.commands)
    [waiting] = relaying.cli_json("queue")["deliveries"]
    assert "4.7.5" in waiting["reply"]
    primary.behave(Behaviour(tls=server_context(authority.issue(["127.0.0.1"]))))
    relaying.wait_for(relayed=1)
    assert [one.tls for one in primary.taken] == [True]


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour(),
        Behaviour(on={Stage.STARTTLS: "454 4.7.0 not now"}, keywords=("PIPELINING", "STARTTLS")),
        Behaviour(keywords=("PIPELINING", "STARTTLS")),
        Behaviour(on={Stage.STARTTLS: Act.CLOSE}, keywords=("STARTTLS",)),
        Behaviour(on={Stage.STARTTLS: b"220 go\r\nno handshake at all\r\n"}, keywords=("STARTTLS",)),
    ],
    ids=["not offered", "refused", "unknown after all", "closed", "garbage"],
)
@pytest.mark.parametrize("mode", ["require", "opportunistic"])
def test_without_a_handshake_required_tls_waits_and_opportunistic_goes_in_clear(
    relaying: Gateway, primary: NextHop, authority: Authority, behaviour: Behaviour, mode: str
) -> None:
    if behaviour.on.get(Stage.STARTTLS) is not None:
        behaviour.tls = server_context(authority.issue(["127.0.0.1"]))
        behaviour.keywords = tuple(word for word in behaviour.keywords if word != "STARTTLS")
    primary.behave(behaviour)
    use(relaying, mode, authority)
    relaying.send(ANN, message())
    if mode == "opportunistic":
        relaying.wait_for(relayed=1)
        assert [one.tls for one in primary.taken] == [False]
        return
    wait_until(lambda: primary.server.connections >= 2, "another try")
    wait_until(lambda: set(relaying.totals()) == {"deferred"}, "the deferral")
    assert not any(word.startswith("MAIL") for word in primary.server.commands)


@pytest.mark.parametrize("kind", ["wrong name", "expired", "foreign authority"])
def test_opportunistic_tls_encrypts_whatever_the_certificate(
    relaying: Gateway, primary: NextHop, authority: Authority, tmp_path: Path, kind: str
) -> None:
    primary.behave(Behaviour(tls=server_context(bad_certificate(kind, authority, tmp_path))))
    use(relaying, "opportunistic", authority)
    relaying.send(ANN, message())
    relaying.wait_for(relayed=1)
    assert [one.tls for one in primary.taken] == [True]


def test_without_tls_none_is_tried(relaying: Gateway, primary: NextHop, authority: Authority) -> None:
    primary.behave(Behaviour(tls=server_context(authority.issue(["127.0.0.1"]))))
    use(relaying, "none", authority)
    relaying.send(ANN, message())
    relaying.wait_for(relayed=1)
    assert [one.tls for one in primary.taken] == [False]
    assert "STARTTLS" not in primary.server.commands


def test_replies_injected_before_the_handshake_are_not_believed_after_it(
    relaying: Gateway, primary: NextHop, authority: Authority
) -> None:
    injected = b"220 2.0.0 go ahead\r\n250-evil.test\r\n250 SIZE 10\r\n250 2.1.0 ok\r\n"
    primary.behave(
        Behaviour(on={Stage.STARTTLS: injected}, tls=server_context(authority.issue(["127.0.0.1"])))
    )
    use(relaying, "require", authority)
    relaying.send(ANN, message("not fooled"))
    wait_until(lambda: primary.server.connections >= 2 or primary.taken, "a try")
    assert relaying.totals().keys() <= {"deferred", "relayed", "active"}
    assert all(one.tls for one in primary.messages)
    with relaying.smtp() as client:
        assert int(client.esmtp_features["size"]) > 1000
