"""Delivery status notifications as bytes (RFC 3464, RFC 6522): 7-bit clean, the header of the message only. Pure.

In: what failed, for whom, why. Out: a complete message with CRLF line ends, for the null reverse path.
"""

from __future__ import annotations

import msgspec

from stormsail.domain.reply import Reply, escape

HEADER_LIMIT = 16_384
LINE_LIMIT = 900


class FailedRecipient(msgspec.Struct, frozen=True):
    """One recipient that will not get the message. `action` is an RFC 3464 §2.3.3 word."""

    recipient: str
    reply: Reply
    remote: str
    action: str = "failed"


class Notice(msgspec.Struct, frozen=True):
    """Everything a notification says. `date` is RFC 5322 text; `boundary` must not occur in the header."""

    hostname: str
    to: str
    message_id: str
    date: str
    arrived: str
    original_id: str
    boundary: str
    failed: tuple[FailedRecipient, ...]


def build_dsn(notice: Notice, header: bytes) -> bytes:
    """The notification; `header` is the undelivered message's, cut to `HEADER_LIMIT`."""
    parts = [_head(notice), _words(notice), _status(notice), _returned(notice, header)]
    return "".join(parts).encode("ascii")


def _head(notice: Notice) -> str:
    return (
        f"From: Mail Delivery System <MAILER-DAEMON@{notice.hostname}>\r\n"
        f"To: <{escape(notice.to)}>\r\n"
        "Subject: Your message could not be delivered\r\n"
        f"Date: {notice.date}\r\n"
        f"Message-ID: <{notice.message_id}>\r\n"
        "Auto-Submitted: auto-replied\r\n"
        "MIME-Version: 1.0\r\n"
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{notice.boundary}"\r\n'
        "\r\n"
        "This is a MIME message; your mail program should show its first part.\r\n"
    )


def _words(notice: Notice) -> str:
    people = "".join(
        f"\r\n  {escape(one.recipient)}\r\n    {escape(str(one.reply))[:LINE_LIMIT]}\r\n" for one in notice.failed
    )
    return (
        f"--{notice.boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        f"This is the mail gateway at {notice.hostname}.\r\n\r\n"
        "Your message could not be delivered to the following; nothing more will be tried:\r\n"
        f"{people}\r\n"
        "The header of your message is below. If you think that the address is right,\r\n"
        f"please show this notice to your administrators; it is about {notice.original_id}.\r\n\r\n"
    )


def _status(notice: Notice) -> str:
    """The machine-readable part (RFC 3464 §2)."""
    blocks = [
        f"Reporting-MTA: dns; {notice.hostname}\r\nX-Stormsail-Id: {notice.original_id}\r\n"
        f"Arrival-Date: {notice.arrived}\r\n"
    ]
    for one in notice.failed:
        kind = "rfc822" if one.recipient.isascii() else "utf-8"
        status = one.reply.enhanced if one.reply.enhanced.startswith(("4", "5")) else "5.0.0"
        remote = f"Remote-MTA: dns; {escape(one.remote)[:LINE_LIMIT]}\r\n" if one.remote else ""
        blocks.append(
            f"Final-Recipient: {kind}; {escape(one.recipient)}\r\nAction: {one.action}\r\nStatus: {status}\r\n"
            f"{remote}Diagnostic-Code: smtp; {escape(str(one.reply))[:LINE_LIMIT]}\r\n"
        )
    return f"--{notice.boundary}\r\nContent-Type: message/delivery-status\r\n\r\n" + "\r\n".join(blocks) + "\r\n"


def _returned(notice: Notice, header: bytes) -> str:
    """The message's own header (RFC 6522 §4), every octet beyond ASCII and every control character made `?`."""
    text = header[:HEADER_LIMIT].decode("ascii", "replace").replace("\ufffd", "?")
    lines = [escape(line.replace("\t", " "))[:LINE_LIMIT] for line in text.split("\r\n")]
    shown = "\r\n".join(line for line in lines if line)
    return f"--{notice.boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{shown}\r\n\r\n--{notice.boundary}--\r\n"
