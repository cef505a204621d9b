"""What replies of a primary are about: real texts of Exchange Online, Google and Postfix."""

import pytest

from stormsail.domain.replies import ReplyClass, Stage, classify, classify_outward
from stormsail.domain.reply import parse_reply

SYSTEM = [
    (Stage.GREETING, 421, "4.3.2 Service not available"),
    (Stage.GREETING, 554, "5.3.2 We are closed"),
    (Stage.MAIL, 451, "4.7.500 Server busy. Please try again later"),
    (Stage.RCPT, 451, "4.3.2 Please try again later"),
    (Stage.RCPT, 421, "4.7.0 Temporary server error"),
    (Stage.DOT, 451, "4.4.316 Connection refused"),
    (Stage.MAIL, 530, "5.7.57 Client not authenticated to send mail"),
    (Stage.RCPT, 550, "5.7.64 TenantAttribution; Relay Access Denied"),
    (Stage.RCPT, 550, "5.7.51 TenantInboundAttribution; There is a partner connector configured"),
    (Stage.RCPT, 550, "5.7.606 Access denied, banned sending IP [192.0.2.1]"),
    (Stage.RCPT, 554, "5.7.1 <x@example.com>: Relay access denied"),
    (Stage.RCPT, 554, "5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org"),
    (Stage.MAIL, 550, "5.7.1 Unable to relay"),
    (Stage.MAIL, 450, "4.7.1 Client host rejected: cannot find your hostname, [192.0.2.1]"),
    (Stage.RCPT, 503, "5.5.1 Bad sequence of commands"),
]
MESSAGE_TEMPORARY = [
    (Stage.MAIL, 451, "4.1.8 Domain of sender address does not resolve"),
    (Stage.MAIL, 450, "4.1.7 <x@example.org>: Sender address rejected: unverified address"),
    (Stage.MAIL, 450, "4.7.1 <x@example.org>: Sender address rejected: greylisted"),
    (Stage.DOT, 451, "4.7.24 The SPF record of the sender cannot be looked up"),
    (Stage.DOT, 451, "4.6.0 Try later"),
]
RECIPIENT_TEMPORARY = [
    (Stage.RCPT, 452, "4.2.2 Mailbox full"),
    (Stage.RCPT, 450, "4.7.1 Greylisted, try again in 5 minutes"),
    (Stage.RCPT, 452, "4.5.3 Too many recipients"),
    (Stage.DOT, 432, "4.3.2 STOREDRV.Deliver; recipient thread limit exceeded"),
    (Stage.RCPT, 450, "4.1.1 Recipient unverified"),
    (Stage.RCPT, 452, "mailbox is full"),
    (Stage.RCPT, 451, "Could not complete sender verify"),
]
RECIPIENT_REFUSED = [
    (Stage.RCPT, 550, "5.1.1 The email account that you tried to reach does not exist"),
    (Stage.RCPT, 550, "5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"),
    (Stage.RCPT, 550, "5.4.1 Recipient address rejected: Access denied"),
    (Stage.RCPT, 550, "5.2.1 The email account that you tried to reach is disabled"),
    (Stage.RCPT, 552, "5.2.2 Mailbox full"),
    (Stage.RCPT, 552, "Requested mail action aborted: exceeded storage allocation"),
    (Stage.DOT, 552, "The mailbox is over its quota"),
    (Stage.RCPT, 550, "no such user here"),
    (Stage.DOT, 550, "5.1.10 RESOLVER.ADR.RecipientNotFound"),
]
MESSAGE_REFUSED = [
    (Stage.DOT, 550, "5.7.1 Message rejected as spam by content filtering"),
    (Stage.DOT, 554, "5.6.0 Malformed message"),
    (Stage.DOT, 550, "5.7.26 Unauthenticated mail is blocked due to the domain's DMARC policy"),
    (Stage.RCPT, 550, "5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup"),
    (Stage.DOT, 552, "5.7.0 This message was blocked because its content presents a potential security issue"),
    (Stage.DOT, 554, "spam"),
]
TOO_LARGE = [
    (Stage.MAIL, 552, "5.3.4 Message size exceeds fixed maximum message size"),
    (Stage.DOT, 552, "5.2.3 Message larger than the current maximum"),
    (Stage.DOT, 552, "Too much mail data"),
]


@pytest.mark.parametrize(
    ("about", "stage", "code", "text"),
    [
        *((ReplyClass.SYSTEM, *one) for one in SYSTEM),
        *((ReplyClass.MESSAGE_TEMPORARY, *one) for one in MESSAGE_TEMPORARY),
        *((ReplyClass.RECIPIENT_TEMPORARY, *one) for one in RECIPIENT_TEMPORARY),
        *((ReplyClass.RECIPIENT_REFUSED, *one) for one in RECIPIENT_REFUSED),
        *((ReplyClass.MESSAGE_REFUSED, *one) for one in MESSAGE_REFUSED),
        *((ReplyClass.MESSAGE_TOO_LARGE, *one) for one in TOO_LARGE),
        (ReplyClass.TAKEN, Stage.DOT, 250, "2.6.0 <x> Queued mail for delivery"),
    ],
)
def test_a_reply_of_the_primary_is_about(about: ReplyClass, stage: Stage, code: int, text: str) -> None:
    assert classify(parse_reply(code, text), stage) is about


def test_a_host_of_the_internet_is_believed_when_it_refuses_us() -> None:
    denied = parse_reply(554, "5.7.1 Relay access denied")
    assert classify_outward(denied, Stage.RCPT) is ReplyClass.RECIPIENT_REFUSED
    assert classify_outward(parse_reply(554, "5.7.1 go away"), Stage.GREETING) is ReplyClass.SYSTEM


@pytest.mark.parametrize("stage", [Stage.CONNECT, Stage.GREETING, Stage.EHLO, Stage.STARTTLS, Stage.AUTH])
def test_a_permanent_refusal_before_mail_is_a_failure_of_the_next_hop(stage: Stage) -> None:
    assert classify(parse_reply(550, "5.1.1 whatever it says"), stage) is ReplyClass.SYSTEM


def test_what_a_peer_says_is_escaped_and_cut() -> None:
    reply = parse_reply(550, "5.1.1 \x1b[31mred\x1b[0m " + "x" * 2000)
    assert str(reply).isprintable()
    assert len(reply.text) <= 500
