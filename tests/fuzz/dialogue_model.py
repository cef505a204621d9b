"""What an SMTP dialogue must come to, told from its two sides alone (RFC 5321 §2.3.8, §4.1.1.4, §4.2, §4.5.2).

In: the octets of the peer and the replies of the door. Out: the messages that may have been taken, and every rule that
was broken. The model is deliberately plain: lines end with LF, text ends with CRLF.CRLF and with nothing else, each
command line has one reply and each text one more. A door that took a command out of a text, or ended a text elsewhere,
no longer fits it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from stormsail.smtpserver.commands import parse_mail
from testkit.memory_door import LIMITS, Heard, TakenMessage

END = b"\r\n.\r\n"
REPLY_LINE = re.compile(rb"[2-5]\d\d([ -])[\x20-\x7e]{0,506}")
LONE_LF = re.compile(rb"(?<!\r)\n")
CLOSING = ("221 ", "421 ", "554 5.5.0 You ", "500 5.5.2 The command line is too long")
"""Replies after which nothing more may be said."""
LINE_LIMIT = 65_536


class Broken(AssertionError):
    """The door broke a rule."""


@dataclass
class Said:
    """Commands of one transaction that were taken, and the texts of messages."""

    reverse_path: str | None = None
    recipients: int = 0
    taken: list[TakenMessage] = field(default_factory=list)


def replies_of(answers: bytes) -> list[str]:
    """The replies, each with all its lines. Raises Broken where a line is none of SMTP."""
    if answers and not answers.endswith(b"\r\n"):
        raise Broken(f"the answers do not end with CRLF: {answers[-60:]!r}")
    replies: list[str] = []
    lines: list[str] = []
    for line in answers.split(b"\r\n")[:-1]:
        found = REPLY_LINE.fullmatch(line)
        if found is None:
            raise Broken(f"not a line of a reply: {line!r}")
        lines.append(line.decode("ascii"))
        if lines[0][:3] != lines[-1][:3]:
            raise Broken(f"codes differ within a reply: {lines}")
        if found.group(1) == b" ":
            replies.append("\n".join(lines))
            lines = []
    if lines:
        raise Broken(f"a reply without its last line: {lines}")
    return replies


def check(turns: Sequence[bytes], heard: Heard) -> None:
    """Raises Broken where the dialogue does not fit the model."""
    if heard.faults:
        raise Broken(f"inside: {heard.faults}")
    replies = replies_of(heard.answers)
    if not replies or not replies[0].startswith("220 "):
        raise Broken(f"no greeting: {replies[:1]}")
    early = [reply for reply in replies[:-1] if reply.startswith(("221 ", "421 "))]
    if early:
        raise Broken(f"words after a goodbye: {early}")
    said = _walk(b"".join(turns), replies[1:])
    if len(heard.taken) > sum(reply.startswith("354") for reply in replies):
        raise Broken("more messages than texts were asked for")
    if [_comparable(one) for one in said.taken] != [_comparable(one) for one in heard.taken]:
        raise Broken(f"taken were {heard.taken}, the dialogue says {said.taken}")
    for meant, got in zip(said.taken, heard.taken, strict=True):
        if not got.altered and meant.content != got.content:
            raise Broken(f"the text was {meant.content!r}, taken was {got.content!r}")


def _comparable(message: TakenMessage) -> tuple[str, int]:
    """Recipients named twice count once, in whatever spelling."""
    return message.reverse_path, min(len(message.recipients), 1)


def _walk(octets: bytes, replies: list[str]) -> Said:
    said = Said()
    at = 0
    waiting = list(reversed(replies))
    while at < len(octets):
        end = octets.find(b"\n", at) + 1
        if end == 0 or end - at > LINE_LIMIT + 1:
            _unfinished(octets[at : end or None], waiting)
            return said
        if not waiting:
            raise Broken(f"no answer to {octets[at:end][:100]!r}")
        line, at, reply = octets[at:end], end, waiting.pop()
        _command(said, line, reply)
        if reply.startswith("354"):
            at = _text(said, octets, at, waiting)
        elif reply.startswith(CLOSING[:3]):
            break
    if waiting:
        raise Broken(f"answers that nobody asked for: {waiting[::-1]}")
    return said


def _unfinished(line: bytes, waiting: list[str]) -> None:
    """A line without its end earns no answer, one beyond every limit a last one."""
    wanted = [CLOSING[3]] if len(line) > LINE_LIMIT else []
    if [reply[: len(CLOSING[3])] for reply in waiting] != wanted:
        raise Broken(f"{len(line)} octets without LF were answered with {waiting}")


def _command(said: Said, line: bytes, reply: str) -> None:
    verb = line[:4].upper()
    if reply.startswith("354") and line.strip().upper() != b"DATA":
        raise Broken(f"354 to {line!r}")
    if not reply.startswith(("250", "220")):
        return
    if verb == b"MAIL":
        said.reverse_path, said.recipients = parse_mail(line[5:].decode().strip(), LIMITS.message_size), 0
    elif verb == b"RCPT":
        said.recipients += 1
    elif verb in (b"RSET", b"EHLO", b"HELO"):
        said.reverse_path, said.recipients = None, 0


def _text(said: Said, octets: bytes, at: int, waiting: list[str]) -> int:
    """The text from `at` on; gives the place behind its end."""
    if said.reverse_path is None or not said.recipients:
        raise Broken("354 without an envelope")
    found = (b"\r\n" + octets[at:]).find(END)
    if found < 0:
        if waiting:
            raise Broken(f"the text has not ended and was answered: {waiting[::-1]}")
        return len(octets)
    raw = octets[at : at + found]
    if not waiting:
        raise Broken("no answer to a text")
    reply = waiting.pop()
    if reply.startswith("250"):
        said.taken.append(_message(said, raw))
    elif not reply.startswith(("4", "5")):
        raise Broken(f"a text was answered with {reply}")
    said.reverse_path, said.recipients = None, 0
    return at + found + len(END) - 2


def _message(said: Said, raw: bytes) -> TakenMessage:
    text = (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:]
    if b"\0" in text or b"\r" in text.replace(b"\r\n", b""):
        raise Broken(f"a text was taken that no server may take: {text!r}")
    return TakenMessage(said.reverse_path or "", ("?",) * said.recipients, LONE_LF.sub(b"\r\n", text), False)
