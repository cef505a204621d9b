"""What a next hop's reply says, and about whom (DESIGN §3.8, §3.9): the next hop, the recipient, the message or us."""

from __future__ import annotations

import re
from enum import StrEnum

from .reply import Reply


class Stage(StrEnum):
    """Where in the SMTP conversation a reply came."""

    CONNECT = "connect"
    GREETING = "greeting"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    DOT = "dot"


class ReplyClass(StrEnum):
    TAKEN = "taken"
    SYSTEM = "system"
    """The next hop as a whole cannot or will not talk to us: counts for the circuit breaker."""
    RECIPIENT_TEMPORARY = "recipient_temporary"
    """Only this recipient, for now: full mailbox, greylisting, thread limit."""
    MESSAGE_TEMPORARY = "message_temporary"
    RECIPIENT_REFUSED = "recipient_refused"
    """A permanent reply about the recipient: 5.1.x, 5.2.x, 5.4.1."""
    MESSAGE_REFUSED = "message_refused"
    """A permanent reply about content, policy or size."""
    MESSAGE_TOO_LARGE = "message_too_large"


ABOUT_US_CODES = frozenset({"5.7.51", "5.7.64"})
ABOUT_US_TEXT = re.compile(
    r"relay(?:ing)? (?:access )?(?:is )?(?:denied|not permitted|not allowed|prohibited)|unable to relay|"
    r"client host|"
    r"(?:ip|sending|source) (?:address )?(?:\S+ )?(?:is |has been )?(?:blocked|banned|block ?listed|blacklisted)|"
    r"spamhaus|banned sending ip|authentication (?:is )?required|must issue a starttls|connector",
    re.IGNORECASE,
)
RECIPIENT_TEMPORARY_CODES = ("4.2.", "4.5.3", "4.1.1", "4.7.1", "4.1.8")
RECIPIENT_THREADS = "recipient thread limit exceeded"
SYSTEM_TEMPORARY = re.compile(
    r"^4\.(?:3\.|4\.|7\.0$|7\.500$)|^4\.7\.5\d\d$",
)
ABOUT_SENDER = re.compile(r"4\.1\.|4\.7\.[1-9]\d?$")
"""The reverse path's domain does not resolve, its SPF cannot be looked up, it is greylisted: this message only. Who
sends such mail on purpose must not open the breaker for everybody."""
TOO_LARGE_CODES = ("5.3.4", "5.2.3")
MAILBOX_FULL_TEXT = re.compile(r"mailbox|quota|storage", re.IGNORECASE)
"""552 alone means either: the message is too large, or the mailbox is full (RFC 5321 §4.2.2)."""


def classify(reply: Reply, stage: Stage) -> ReplyClass:
    """What a primary's reply is about. Codes that say nothing are judged by the stage they came in."""
    if reply.positive:
        return ReplyClass.TAKEN
    if reply.permanent:
        return _classify_permanent(reply, stage)
    return _classify_temporary(reply, stage)


def classify_outward(reply: Reply, stage: Stage) -> ReplyClass:
    """The same for a host of the internet: a permanent refusal once we talked about the message is believed."""
    if reply.permanent and stage in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT):
        return ReplyClass.RECIPIENT_REFUSED if stage is Stage.RCPT else ReplyClass.MESSAGE_REFUSED
    return classify(reply, stage)


def about_us(reply: Reply) -> bool:
    """Whether a permanent reply names the sending host rather than the recipient or the message."""
    if reply.enhanced in ABOUT_US_CODES:
        return True
    parts = reply.enhanced.split(".")
    if len(parts) == 3 and parts[:2] == ["5", "7"] and 606 <= int(parts[2]) <= 649:
        return True
    if reply.enhanced.startswith(("5.1.", "5.2.", "5.3.4", "5.6.")):
        return False
    return bool(ABOUT_US_TEXT.search(reply.text)) or reply.code == 530


def _classify_permanent(reply: Reply, stage: Stage) -> ReplyClass:
    if stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT) or about_us(reply):
        return ReplyClass.SYSTEM
    if reply.code == 552 and not reply.enhanced:
        full = stage is Stage.RCPT or MAILBOX_FULL_TEXT.search(reply.text)
        return ReplyClass.RECIPIENT_REFUSED if full else ReplyClass.MESSAGE_TOO_LARGE
    if reply.enhanced.startswith(TOO_LARGE_CODES):
        return ReplyClass.MESSAGE_TOO_LARGE
    if reply.enhanced.startswith(("5.1.", "5.2.")) or reply.enhanced == "5.4.1":
        # 5.1.0, 5.1.7 and 5.1.8 speak of the reverse path: the message, not the recipient.
        if reply.enhanced in ("5.1.7", "5.1.8") or stage is Stage.MAIL:
            return ReplyClass.MESSAGE_REFUSED if stage is not Stage.MAIL or reply.enhanced else ReplyClass.SYSTEM
        return ReplyClass.RECIPIENT_REFUSED
    if stage is Stage.MAIL:
        # Before RCPT a refusal without a word about the message is one of the system (DESIGN §3.8).
        return ReplyClass.MESSAGE_REFUSED if reply.enhanced.startswith(("5.6.", "5.3.")) else ReplyClass.SYSTEM
    if stage is Stage.RCPT and not reply.enhanced and reply.code in (550, 551, 553):
        return ReplyClass.RECIPIENT_REFUSED
    if reply.code in (500, 501, 502, 503, 504) and not reply.enhanced.startswith("5.6"):
        return ReplyClass.SYSTEM
    return ReplyClass.MESSAGE_REFUSED


def _classify_temporary(reply: Reply, stage: Stage) -> ReplyClass:
    if reply.code == 421 or stage not in (Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.DOT):
        return ReplyClass.SYSTEM
    if RECIPIENT_THREADS in reply.text.lower():
        return ReplyClass.RECIPIENT_TEMPORARY
    if stage is Stage.RCPT and reply.enhanced.startswith(RECIPIENT_TEMPORARY_CODES):
        return ReplyClass.RECIPIENT_TEMPORARY
    if reply.enhanced.startswith("4.2."):
        return ReplyClass.RECIPIENT_TEMPORARY
    if ABOUT_SENDER.match(reply.enhanced) and not ABOUT_US_TEXT.search(reply.text):
        return ReplyClass.MESSAGE_TEMPORARY
    if SYSTEM_TEMPORARY.search(reply.enhanced) or stage is Stage.MAIL:
        return ReplyClass.SYSTEM
    if stage is Stage.RCPT and not reply.enhanced:
        # 450 and 452 by RFC 5321 §4.2.2; Exim says 451 alone for greylisting and for senders it cannot verify.
        return ReplyClass.RECIPIENT_TEMPORARY
    return ReplyClass.MESSAGE_TEMPORARY if reply.enhanced.startswith("4.6.") else ReplyClass.SYSTEM
