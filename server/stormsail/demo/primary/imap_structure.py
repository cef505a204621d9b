"""ENVELOPE and BODYSTRUCTURE of a message (RFC 3501 §7.4.2), and the bytes of one of its parts.

In: raw bytes of the sandbox's own messages. Out: IMAP data. Whatever cannot be made out becomes NIL or empty.
"""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from email.utils import getaddresses

from .imap_syntax import listed, quote

ADDRESS_FIELDS = ("From", "Sender", "Reply-To", "To", "Cc", "Bcc")


def split_message(content: bytes) -> tuple[bytes, bytes]:
    """Header with its empty line, and body."""
    for separator in (b"\r\n\r\n", b"\n\n"):
        head, found, body = content.partition(separator)
        if found:
            return head + separator, body
    return content, b""


def envelope(content: bytes) -> bytes:
    """The message's ENVELOPE."""
    message = message_from_bytes(split_message(content)[0])
    addresses = []
    for name in ADDRESS_FIELDS:
        values = message.get_all(name) or ((message.get_all("From") or []) if name in ("Sender", "Reply-To") else [])
        addresses.append(_addresses([str(value) for value in values]))
    first, last = [_field(message, "Date"), _field(message, "Subject")], ["In-Reply-To", "Message-ID"]
    return listed([*first, *addresses, *(_field(message, name) for name in last)])


def body_structure(content: bytes, *, extended: bool) -> bytes:
    """BODYSTRUCTURE, or BODY where not `extended`."""
    return _structure(message_from_bytes(content), extended)


def part_bytes(content: bytes, path: list[int], what: str) -> bytes:
    """A part by its numbers; `what` is "", MIME, HEADER or TEXT. Empty where there is no such part."""
    part: Message = message_from_bytes(content)
    for number in path:
        part = _enter(part)
        if part.is_multipart():
            parts = _children(part)
            if not 1 <= number <= len(parts):
                return b""
            part = parts[number - 1]
        elif number != 1:
            return b""
    if what == "MIME":
        return split_message(part.as_bytes())[0]
    if what in ("HEADER", "TEXT"):
        return split_message(_enter(part).as_bytes())[0 if what == "HEADER" else 1]
    return _body(part)


def _enter(part: Message) -> Message:
    """The message inside a message/rfc822 part; anything else as it is."""
    if part.get_content_type() == "message/rfc822":
        children = _children(part)
        return children[0] if children else part
    return part


def _children(part: Message) -> list[Message]:
    payload = part.get_payload()
    return [child for child in payload if isinstance(child, Message)] if isinstance(payload, list) else []


def _body(part: Message) -> bytes:
    if part.is_multipart():
        return split_message(part.as_bytes())[1]
    payload = part.get_payload()
    return str(payload).encode("ascii", "surrogateescape")


def _field(message: Message, name: str) -> bytes:
    value = message.get(name)
    return quote(" ".join(str(value).split()) if value is not None else None)


def _addresses(values: list[str]) -> bytes:
    made = []
    for name, address in getaddresses(values):
        local, _, domain = address.rpartition("@")
        made.append(listed([quote(name or None), b"NIL", quote(local), quote(domain)]))
    return b"(" + b"".join(made) + b")" if made else b"NIL"


def _structure(part: Message, extended: bool) -> bytes:
    children = _children(part) if part.get_content_maintype() == "multipart" else []
    if children:
        fields = [
            b"".join(_structure(child, extended) for child in children),
            quote(part.get_content_subtype().upper()),
        ]
        if extended:
            fields += [_parameters(part, "Content-Type"), _disposition(part), b"NIL", b"NIL"]
        return listed(fields)
    body = _body(part)
    encoding = str(part.get("Content-Transfer-Encoding", "7BIT")).strip().upper()
    fields = [
        quote(part.get_content_maintype().upper()),
        quote(part.get_content_subtype().upper()),
        _parameters(part, "Content-Type"),
        quote(part.get("Content-ID")),
        quote(part.get("Content-Description")),
        quote(encoding),
        b"%d" % len(body),
    ]
    if part.get_content_type() == "message/rfc822" and _children(part):
        inner = _children(part)[0]
        fields += [envelope(inner.as_bytes()), _structure(inner, extended), b"%d" % body.count(b"\n")]
    elif part.get_content_maintype() == "text":
        fields.append(b"%d" % body.count(b"\n"))
    if extended:
        fields += [b"NIL", _disposition(part), b"NIL", b"NIL"]
    return listed(fields)


def _parameters(part: Message, name: str) -> bytes:
    found = part.get_params(header=name) or []
    pairs = [quote(text) for key, value in found[1:] for text in (key.upper(), _plain(value))]
    if not pairs and name == "Content-Type" and part.get_content_maintype() == "text":
        pairs = [quote("CHARSET"), quote("US-ASCII")]
    return listed(pairs) if pairs else b"NIL"


def _plain(value: object) -> str:
    """A parameter's value; an RFC 2231 one comes in three pieces."""
    return str(value[2]) if isinstance(value, tuple) else str(value)


def _disposition(part: Message) -> bytes:
    found = part.get_content_disposition()
    return b"NIL" if found is None else listed([quote(found.upper()), _parameters(part, "Content-Disposition")])
