"""A digest as rows: the columns of `message`, and the entry of the search index. Pure.

In: an outcome. Out: values for SQL. A message without digest gets empty ones, so that it counts as looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stormsail.digest import Correspondent, Digest, PartNode, search_words

from .asking import HAS_ATTACHMENT
from .children import Outcome
from .index import IndexedMessage
from .search import pack_view
from .values import CopyState, Envelope, ShownText

DIGEST_FORMAT = 1
"""Grows when a digest says more than before; rows of an older one can then be found and made again."""
NOBODY = Correspondent("", "")
_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPES = msgspec.msgpack.Decoder(Envelope)
_STRUCTURES = msgspec.msgpack.Decoder(PartNode)


def message_values(outcome: Outcome) -> tuple[object, ...]:
    """State to digest format, as the columns of `message` go."""
    digest = outcome.digest
    if digest is None:
        state = CopyState.DAMAGED if outcome.damaged else CopyState.UNREADABLE
        return (state, outcome.problem, "", "", "", None, "", "", 0, 0, None, None, DIGEST_FORMAT)
    author = digest.authors[0] if digest.authors else NOBODY
    state = CopyState.READY if digest.structure is not None else CopyState.UNREADABLE
    structure = _ENCODER.encode(digest.structure) if digest.structure is not None else None
    return (
        (state, digest.problem, digest.subject, author.name, author.address, digest.date)
        + (digest.message_id, digest.preview, len(digest.attachments()), digest.header_length)
        + (_ENCODER.encode(envelope_of(digest)), structure, DIGEST_FORMAT)
    )


def envelope_of(digest: Digest) -> Envelope:
    return Envelope(
        digest.authors,
        digest.reply_to,
        digest.to,
        digest.cc,
        digest.references,
        digest.in_reply_to,
        digest.auto_submitted,
    )


def index_entry(outcome: Outcome, boxes: Sequence[str]) -> IndexedMessage:
    """What is searched and shown of a message; `boxes` are the tokens of the mailboxes with a copy."""
    tokens = list(dict.fromkeys(boxes))
    digest = outcome.digest
    if digest is None:
        return IndexedMessage(outcome.message_id, "", "", "", "", "", " ".join(tokens), pack_view(ShownText()))
    if digest.attachments():
        tokens.append(HAS_ATTACHMENT)
    names = " ".join(part.file_name for part in digest.attachments())
    return IndexedMessage(
        outcome.message_id,
        search_words(digest.subject),
        search_words(_people(digest.authors + digest.reply_to)),
        search_words(_people(digest.to + digest.cc)),
        digest.message_id,
        f"{digest.words or digest.text}\n{search_words(names)}",
        " ".join(tokens),
        pack_view(ShownText(digest.text, digest.html, digest.remote_images, digest.headers)),
    )


def _people(people: Sequence[Correspondent]) -> str:
    return " ".join(f"{one.name} {one.address}" for one in people)


def unpack_envelope(data: bytes | None) -> Envelope:
    return _ENVELOPES.decode(data) if data is not None else Envelope()


def unpack_structure(data: bytes | None) -> PartNode | None:
    return _STRUCTURES.decode(data) if data is not None else None
