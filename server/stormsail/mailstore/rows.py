"""Rows of copies as values, and the marks by which pages go on.

In: a row of `COPY`, a page's `before`. Out: a Copy; the numbers to go on from. Raises BadRequest on a mark that is
none.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from stormsail.digest import Correspondent
from stormsail.domain.errors import BadRequest

from .copies import join_flags
from .digested import unpack_envelope
from .values import Copy, CopyState

COPY = (
    "c.id, b.address, f.name, c.message_id, c.uid, c.modseq, c.flags, c.keywords, c.internal_date, m.size, m.state,"
    " m.problem, m.subject, m.author_name, m.author_address, m.date, m.message_id, m.preview, m.attachments,"
    " m.envelope, c.recipients"
)
JOINED = (
    "copy c CROSS JOIN message m ON m.id = c.message_id CROSS JOIN folder f ON f.id = c.folder_id"
    " CROSS JOIN mailbox b ON b.id = c.mailbox_id"
)
MOST = (1 << 63) - 1
LAST_DAY = "9999-99-99"
BEFORE = re.compile(r"(\d{1,18})\.(\d{1,19})")
FOUND_BEFORE = re.compile(r"(\d{4}-\d\d-\d\d)\.(\d{1,19})\.(\d{1,19})")
_RECIPIENTS = msgspec.json.Decoder(tuple[str, ...])


def copy_from(row: tuple[Any, ...]) -> Copy:
    """The copy in a row of `COPY`."""
    return Copy(
        id=row[0],
        mailbox=row[1],
        folder=row[2],
        message_id=row[3],
        uid=row[4],
        modseq=row[5],
        flags=join_flags(row[6], row[7]),
        internal_date=row[8],
        size=row[9],
        state=CopyState(row[10]),
        problem=row[11],
        subject=row[12],
        author=Correspondent(row[13], row[14]),
        date=row[15],
        header_message_id=row[16],
        preview=row[17],
        attachments=row[18],
        to=unpack_envelope(row[19]).to,
        recipients=_RECIPIENTS.decode(row[20]),
    )


def parse_before(before: str | None) -> tuple[int, int]:
    """Internal date and copy id of a page's mark. Raises BadRequest."""
    if before is None:
        return MOST, MOST
    found = BEFORE.fullmatch(before)
    if found is None:
        raise BadRequest("`before` is not a mark that a page gave")
    return int(found[1]), min(int(found[2]), MOST)


def parse_found(before: str | None) -> tuple[str, int, int]:
    """Day, message id and copy id of a search page's mark. Raises BadRequest."""
    if before is None:
        return LAST_DAY, MOST, MOST
    found = FOUND_BEFORE.fullmatch(before)
    if found is None:
        raise BadRequest("`before` is not a mark that a page of this search gave")
    return found[1], min(int(found[2]), MOST), min(int(found[3]), MOST)
