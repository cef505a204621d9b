"""What a door has received of a message, wherever it lies: in memory, or in the file that it is spooled into."""

from __future__ import annotations

from stormsail.intake import ReceivedBody
from stormsail.store import BodyFiles, SpooledBody
from stormsail.store.bodies import INCOMING
from stormsail.store.records import HEADER


def content_of(files: BodyFiles, body: ReceivedBody) -> bytes:
    if body.content is not None:
        return body.content
    return spooled_content(files, body.spooled) if body.spooled is not None else b""


def spooled_content(files: BodyFiles, spooled: SpooledBody) -> bytes:
    """Everything received so far, of a message that is not finished yet."""
    return (files.root / INCOMING / spooled.token).read_bytes()[HEADER.size :]
