"""STARTTLS on our door and towards the primary (RFC 3207, RFC 8314 §3, RFC 7435)."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stormsail.domain.replies import Stage
from testkit.certificates import Authority, CertificateFiles, client_context, server_context
from testkit.gateway import Gateway, message, running_gateway
from testkit.next_hop import NextHop, next_hop
from testkit.scripted_smtp import Act, Behaviour, Taken
from testkit.smtp_talk import SmtpTalk
from testkit.waiting import wait_until

ANN = "ann@example.com"
SPOILT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
"""A server that has no certificate to show: every handshake fails."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def primary() -> Iterator[NextHop]:
    with next_hop() as hop:
        yield hop


def arrived(primary: NextHop, subject: str) -> Taken:
    """The one message with that subject, as soon as the primary has it."""

    def found() -> list[Taken]:
        return [one for one in primary.taken if f"\r\nSubject: {subject}\r\n".encode() in one.content]

    wait_until(found, f"the message {subject!r}")
    [taken] = found()
    return taken


def install(gateway: Gateway, files: CertificateFiles) -> None:
    """Puts a certificate where the configuration names it."""
    shutil.copy(files.certificate, gateway.folder / "fullchain.pem")
    shutil.copy(files.key, gateway.folder / "privkey.pem")


@pytest.fixture(scope="module")
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
    assert b"\tby mx.example.com with ESMTPS id " in arrived(primary, "encrypted").content


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
    assert arrived(primary, "mine").recipients == ["bob@example.com"]
    assert not any(one.reverse_path.startswith("evil") for one in primary.messages)


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
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
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
    install(door, authority.issue(["mx.example.com"]))
    assert door.cli("reload").returncode == 0


# ── towards the primary ──


class Way:
    """A gateway and its primary, which is to be found under certificates of the authority."""

    def __init__(self, gateway: Gateway, primary: NextHop, authority: Authority) -> None:
        self.gateway = gateway
        self.primary = primary
        self.good = server_context(authority.issue(["127.0.0.1"]))

    def meet(self, behaviour: Behaviour) -> None:
        """The primary behaves like this from the next connection on, and there is none that stands."""
        self.primary.refuse()
        self.primary.behave(behaviour)
        self.primary.server.commands.clear()
        self.primary.server.messages.clear()
        self.primary.listen()

    def send(self, subject: str) -> None:
        assert self.gateway.send(ANN, message(subject)).startswith("250")

    def one_arrived(self, *, encrypted: bool) -> None:
        [taken] = self.primary.wait_for(1)
        assert taken.tls is encrypted
        wait_until(lambda: set(self.gateway.totals()) == {"relayed"}, "the result", detail=self.gateway.log)

    def deferred(self) -> None:
        """A try was made, and the message waits for the next one."""
        wait_until(lambda: "EHLO" in self.verbs and "deferred" in self.gateway.totals(), "a try that failed")

    @property
    def verbs(self) -> list[str]:
        """What the primary was told, the first word of each command."""
        return [command.split()[0].upper() for command in self.primary.server.commands]


@contextmanager
def way(mode: str, authority: Authority) -> Iterator[Way]:
    with next_hop() as primary, running_gateway(primary=primary.port, started=False) as gateway:
        trusting = f'tls = "{mode}"\ntls_ca = "{authority.certificate}"\n'
        text = gateway.config.read_text().replace('tls = "none"\n', trusting, 1)
        gateway.config.write_text(text.replace("retry_first_s = 0.3", "retry_first_s = 0.05"))
        gateway.start()
        yield Way(gateway, primary, authority)


@pytest.fixture(scope="module")
def required(authority: Authority) -> Iterator[Way]:
    with way("require", authority) as found:
        yield found


@pytest.fixture(scope="module")
def opportunistic(authority: Authority) -> Iterator[Way]:
    with way("opportunistic", authority) as found:
        yield found


def bad_certificate(kind: str, authority: Authority, folder: Path) -> ssl.SSLContext:
    match kind:
        case "wrong name":
            return server_context(authority.issue(["other.example.com"]))
        case "expired":
            return server_context(authority.issue(["127.0.0.1"], expired=True))
        case _:
            return server_context(Authority(folder).issue(["127.0.0.1"]))


BAD = ["wrong name", "expired", "foreign authority"]
SPOILT_WAYS = {
    "not offered": Behaviour(),
    "unknown after all": Behaviour(keywords=("PIPELINING", "STARTTLS")),
    "refused": Behaviour(on={Stage.STARTTLS: "454 4.7.0 not now"}, tls=SPOILT),
    "closed": Behaviour(on={Stage.STARTTLS: Act.CLOSE}, tls=SPOILT),
    "reset": Behaviour(on={Stage.STARTTLS: Act.RESET}, tls=SPOILT),
    "failing": Behaviour(tls=SPOILT),
}


def test_required_tls_relays_to_a_primary_with_a_good_certificate(required: Way) -> None:
    required.meet(Behaviour(tls=required.good))
    required.send("good")
    required.one_arrived(encrypted=True)
    assert required.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]


@pytest.mark.parametrize("kind", BAD)
def test_required_tls_waits_for_a_good_certificate_and_never_falls_back(
    required: Way, authority: Authority, tmp_path: Path, kind: str
) -> None:
    required.meet(Behaviour(tls=bad_certificate(kind, authority, tmp_path)))
    required.send(kind)
    required.deferred()
    [waiting] = required.gateway.cli_json("queue")["deliveries"]
    assert "4.7.5" in waiting["reply"]
    assert "MAIL" not in required.verbs
    required.meet(Behaviour(tls=required.good))
    required.one_arrived(encrypted=True)


@pytest.mark.parametrize("how", SPOILT_WAYS)
def test_required_tls_waits_where_there_is_no_handshake(required: Way, how: str) -> None:
    required.meet(SPOILT_WAYS[how])
    required.send(how)
    required.deferred()
    assert "MAIL" not in required.verbs
    required.meet(Behaviour(tls=required.good))
    required.one_arrived(encrypted=True)


@pytest.mark.parametrize("how", SPOILT_WAYS)
def test_opportunistic_tls_goes_in_clear_where_there_is_no_handshake(opportunistic: Way, how: str) -> None:
    opportunistic.meet(SPOILT_WAYS[how])
    opportunistic.send(how)
    opportunistic.one_arrived(encrypted=False)


@pytest.mark.parametrize("kind", BAD)
def test_opportunistic_tls_encrypts_whatever_the_certificate(
    opportunistic: Way, authority: Authority, tmp_path: Path, kind: str
) -> None:
    opportunistic.meet(Behaviour(tls=bad_certificate(kind, authority, tmp_path)))
    opportunistic.send(kind)
    opportunistic.one_arrived(encrypted=True)


def test_without_tls_none_is_tried(authority: Authority) -> None:
    with way("none", authority) as plain:
        plain.meet(Behaviour(tls=plain.good))
        plain.send("in clear")
        plain.one_arrived(encrypted=False)
        assert "STARTTLS" not in plain.verbs


def test_replies_injected_before_the_handshake_are_not_believed_after_it(required: Way) -> None:
    injected = b"220 2.0.0 go ahead\r\n250-evil.test\r\n250 SIZE 10\r\n250 2.1.0 ok\r\n"
    required.meet(Behaviour(on={Stage.STARTTLS: injected}, tls=required.good))
    required.send("not fooled")
    required.one_arrived(encrypted=True)
    assert required.verbs[:4] == ["EHLO", "STARTTLS", "EHLO", "MAIL"]
    with required.gateway.smtp() as client:
        assert int(client.esmtp_features["size"]) > 1000
