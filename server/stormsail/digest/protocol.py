"""What goes through the pipes between the gateway and a digest child: length-prefixed msgpack frames.

In: requests. Out: exactly one answer each, after one `Hello` when the child is ready. An answer is checked when it
is decoded, sizes of numbers included, because the child may have been taken over by what it read. Fails with
msgspec.MsgspecError on bytes that are no answer.
"""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

LENGTH = struct.Struct("<Q")
Milliseconds = Annotated[int, Meta(ge=-(1 << 53), le=1 << 53)]
Octets = Annotated[int, Meta(ge=0, le=1 << 53)]


class Task(StrEnum):
    """What is to be done with a message."""

    DIGEST = "digest"
    SCAN = "scan"
    """Only what can be read off the header without the `email` package: for messages that kill it."""
    PART = "part"
    """One part's octets, decoded."""


class Request(msgspec.Struct, frozen=True):
    """`content` is the message with our trace fields, as `raw` gives it."""

    task: Task
    content: memoryview
    part: str = ""


class Correspondent(msgspec.Struct, frozen=True):
    """A person or address in a header field; either may be empty."""

    name: str
    address: str


class PartNode(msgspec.Struct, frozen=True):
    """One part of the body structure (RFC 9051 §7.5.2): `number` as IMAP counts, `octets` and `lines` as encoded.

    A multipart has `parts` and no octets. A message inside the message is a leaf here; its octets can be parsed anew.
    """

    number: str
    content_type: str
    charset: str = ""
    encoding: str = ""
    octets: Octets = 0
    lines: Octets = 0
    content_id: str = ""
    description: str = ""
    disposition: str = ""
    file_name: str = ""
    attachment: bool = False
    """Something to download, rather than the text of the message itself."""
    size: Octets = 0
    """Octets when decoded."""
    parts: tuple[PartNode, ...] = ()


class Digest(msgspec.Struct, frozen=True, kw_only=True, tag="digest"):
    """A message made readable. Every text is valid Unicode without NUL; `problem` says what could not be read."""

    problem: str = ""
    subject: str = ""
    authors: tuple[Correspondent, ...] = ()
    reply_to: tuple[Correspondent, ...] = ()
    to: tuple[Correspondent, ...] = ()
    cc: tuple[Correspondent, ...] = ()
    date: Milliseconds | None = None
    message_id: str = ""
    references: tuple[str, ...] = ()
    in_reply_to: tuple[str, ...] = ()
    auto_submitted: str = ""
    preview: str = ""
    text: str = ""
    html: str = ""
    """Sanitised; it loads nothing from elsewhere."""
    words: str = ""
    """The text as it is searched, where that is not `text` itself."""
    remote_images: Octets = 0
    """How many images were left out because they lie elsewhere."""
    headers: tuple[tuple[str, str], ...] = ()
    header_length: Octets = 0
    structure: PartNode | None = None
    retire: bool = False
    """The child is not to be trusted with another message."""

    def attachments(self) -> tuple[PartNode, ...]:
        """The parts that can be downloaded, in order."""
        return attachments_in(self.structure)


class PartAnswer(msgspec.Struct, frozen=True, tag="part"):
    """One part, ready to download."""

    file_name: str
    content_type: str
    content: bytes


class Refusal(msgspec.Struct, frozen=True, tag="refusal"):
    """There is no such part, or it could not be taken out."""

    reason: str


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """The child has loaded everything, its limits are set."""


Answer = Digest | PartAnswer | Refusal | Hello
_ENCODER = msgspec.msgpack.Encoder()
_ANSWERS: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
_REQUESTS = msgspec.msgpack.Decoder(Request)


def attachments_in(node: PartNode | None) -> tuple[PartNode, ...]:
    """The downloadable leaves of a structure, in order."""
    found: list[PartNode] = []
    waiting = [node] if node is not None else []
    while waiting:
        current = waiting.pop()
        if current.attachment:
            found.append(current)
        waiting += reversed(current.parts)
    return tuple(found)


def encode_request(request: Request) -> bytes:
    return _ENCODER.encode(request)


def decode_request(data: bytes | bytearray) -> Request:
    return _REQUESTS.decode(data)


def encode_answer(answer: Answer) -> bytes:
    return _ENCODER.encode(answer)


def decode_answer(data: bytes | bytearray) -> Answer:
    """Raises msgspec.MsgspecError."""
    return _ANSWERS.decode(data)


def frame(data: bytes) -> bytes:
    """The length that goes in front of a frame's data."""
    return LENGTH.pack(len(data))
