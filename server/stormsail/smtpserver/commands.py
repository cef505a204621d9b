"""The arguments of MAIL and RCPT, parsed and checked (RFC 5321 §4.1.2, RFC 1870, RFC 6152). Pure."""

from __future__ import annotations

import re
from functools import lru_cache

from stormsail.domain.errors import BadAddress, BadRequest, MessageTooLarge
from stormsail.domain.reply import Reply

PATH = r'<((?:"(?:[^"\\]|\\.)*"|[^<>"\s])*)>'
MAIL = re.compile(rf"from: ?{PATH}(?: +(.*))?", re.IGNORECASE)
RCPT = re.compile(rf"to: ?{PATH}(?: +(.*))?", re.IGNORECASE)
PATH_LIMIT = 1024
COMMAND_LIMIT = 4096
NAME_SHOWN = 40
QUICK_LIMIT = 256
"""Octets of a command that is worth remembering: the same senders and recipients come again and again."""


@lru_cache(maxsize=2048)
def parse_mail(argument: str, size_limit: int) -> str:
    """The reverse path of MAIL as given, empty for the null one. Raises BadRequest, BadAddress or MessageTooLarge.

    SIZE is in octets, 0 says nothing (RFC 1870 §6.1). BODY needs no remembering: whether a message has octets beyond
    ASCII is seen in its text.
    """
    found = MAIL.fullmatch(argument)
    if found is None:
        raise BadRequest("Syntax: MAIL FROM:<address> [SIZE=octets] [BODY=8BITMIME]")
    size = 0
    for name, value in _parameters(found.group(2)):
        if name == "SIZE" and value.isdigit() and len(value) <= 20:
            size = int(value)
        elif name != "BODY" or value.upper() not in ("7BIT", "8BITMIME"):
            raise UnknownParameter(f"The parameter {name[:NAME_SHOWN]} is not known or its value is off")
    if size > size_limit:
        raise MessageTooLarge(f"The message is larger than {size_limit} octets")
    return _short(found.group(1))


@lru_cache(maxsize=2048)
def parse_rcpt(argument: str) -> str:
    """The forward path of RCPT. Raises BadRequest or BadAddress."""
    found = RCPT.fullmatch(argument)
    if found is None:
        raise BadRequest("Syntax: RCPT TO:<address>")
    for name, _ in _parameters(found.group(2)):
        raise UnknownParameter(f"The parameter {name[:NAME_SHOWN]} is not known")
    path = _short(found.group(1))
    if not path:
        raise BadAddress("The recipient is empty")
    return path


@lru_cache(maxsize=8192)
def quick_command(data: bytes) -> tuple[bytes, str] | None:
    """The first five octets in upper case and the argument behind them, where this is one well-formed command line."""
    if data.find(b"\n") != len(data) - 1 or malformed(data) is not None:
        return None
    return data[:5].upper(), data[5:-2].decode("ascii").strip()


class UnknownParameter(BadRequest):
    smtp_code = 555


def _parameters(text: str | None) -> list[tuple[str, str]]:
    if not text:
        return []
    pairs = [word.partition("=") for word in text.split()]
    return [(name.upper(), value) for name, _, value in pairs]


def _short(path: str) -> str:
    if len(path) > PATH_LIMIT:
        raise BadAddress("The address is too long")
    return path


CONTROL = bytes([*range(32), 127])


def malformed(line: bytes) -> Reply | None:
    """Why a line cannot be a command (RFC 5321 §2.3.8, §4.1.1, §4.5.3.1.4); None where it can."""
    if not line.endswith(b"\r\n"):
        return Reply(500, "5.5.2", "A command ends with CRLF")
    if len(line) > COMMAND_LIMIT:
        return Reply(500, "5.5.2", "The command line is too long")
    if not line.isascii():
        if line[:5].upper() in (b"MAIL ", b"RCPT "):
            return Reply(553, "5.6.7", "Addresses beyond ASCII are not taken here")
        return Reply(500, "5.5.2", "Commands are ASCII")
    if len(line.translate(None, CONTROL)) != len(line) - 2:
        return Reply(500, "5.5.2", "Control characters are not allowed in a command")
    return None
