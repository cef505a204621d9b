"""Header fields made readable: encoded words, addresses, dates, message ids, file names.

In: a field's value as `email` keeps it (raw octets as surrogates). Out: clean text and values. Values are cut before
they are looked at, so that a flood costs nothing. Never raises. RFC 2047, RFC 5322 §3.3, §3.4, §3.6.4, RFC 2231.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Sequence
from email.utils import getaddresses, mktime_tz, parsedate_tz

from .characters import clean_line, decode, from_surrogates
from .protocol import Correspondent

VALUE_LIMIT = 32_768
SUBJECT_LIMIT = 2_000
NAME_LIMIT = 300
ADDRESS_LIMIT = 1_000
LIST_LIMIT = 500
IDS_LIMIT = 100
FILE_NAME_LIMIT = 120
MS_LIMIT = 1 << 53
ENCODED_WORD = re.compile(r"=\?([^?\s]{1,60})\?([bBqQ])\?([^?]*)\?=")
FOLD = re.compile(r"\r?\n[ \t]|[\r\n]")
MESSAGE_ID = re.compile(r"<[^<>\s]{1,990}>")
NOT_IN_FILE_NAME = re.compile(r'[<>:"|?*\x00-\x1f\x7f]')
NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}$")
ADDRESS_ERRORS = (ValueError, TypeError, IndexError, AttributeError, LookupError, RecursionError)
DATE_ERRORS = (ValueError, TypeError, IndexError, OverflowError, AttributeError)


def decode_words(value: str) -> str:
    """A field's value as text: unfolded, encoded words decoded, blanks between neighbouring ones dropped."""
    text = FOLD.sub(" ", from_surrogates(value[:VALUE_LIMIT]))
    if "=?" not in text:
        return text
    pieces: list[str] = []
    pending: list[bytes] = []
    charset = ""
    end = 0
    for word in ENCODED_WORD.finditer(text):
        between = text[end : word.start()]
        name = word[1].partition("*")[0].lower()
        if pending and (name != charset or between.strip()):
            pieces.append(decode(b"".join(pending), charset))
            pending = []
        if between.strip() or not end:
            pieces.append(between)
        pending.append(_decode_word(word[2], word[3]))
        charset, end = name, word.end()
    if pending:
        pieces.append(decode(b"".join(pending), charset))
    pieces.append(text[end:])
    return "".join(pieces)


def _decode_word(encoding: str, text: str) -> bytes:
    content = text.encode("utf-8", "replace")
    if encoding in "qQ":
        return binascii.a2b_qp(content, header=True)
    return decode_base64(content)


def decode_base64(content: bytes) -> bytes:
    """What base64 can be made out; strange characters and missing padding are forgiven, and so is a torn end."""
    bare = NOT_BASE64.sub(b"", content)
    bare = bare[: len(bare) - 1] if len(bare) % 4 == 1 else bare
    return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))


def read_line(value: str, limit: int = SUBJECT_LIMIT) -> str:
    """An unstructured field, such as Subject, as one clean line."""
    return clean_line(decode_words(value), limit)


def read_addresses(values: Sequence[str]) -> tuple[Correspondent, ...]:
    """Whom an address field names; group names are left out. What cannot be read as addresses gives one name."""
    if not values:
        return ()
    flat = [FOLD.sub(" ", from_surrogates(value[:VALUE_LIMIT])) for value in values[:4]]
    try:
        pairs = getaddresses(flat)
    except ADDRESS_ERRORS:
        pairs = []
    people = tuple(
        Correspondent(read_line(name, NAME_LIMIT), clean_line(address, ADDRESS_LIMIT))
        for name, address in pairs[:LIST_LIMIT]
        if name or address
    )
    if people or not any(value.strip() for value in flat):
        return people
    return (Correspondent(read_line(flat[0], NAME_LIMIT), ""),)


def read_date(value: str) -> int | None:
    """A Date field in milliseconds since the epoch; None where it is none."""
    try:
        parts = parsedate_tz(value[:200])
        if parts is None:
            return None
        at = int(mktime_tz(parts)) * 1000
    except DATE_ERRORS:
        return None
    return at if -MS_LIMIT < at < MS_LIMIT else None


def read_ids(value: str) -> tuple[str, ...]:
    """The message ids in a Message-ID, In-Reply-To or References field: the last ones where there are many."""
    found = MESSAGE_ID.findall(value[-VALUE_LIMIT:])
    return tuple(clean_line(from_surrogates(one), ADDRESS_LIMIT) for one in found[-IDS_LIMIT:])


def read_message_id(value: str) -> str:
    """The Message-ID as it stands, brackets included where it has them."""
    found = read_ids(value[:VALUE_LIMIT])
    return found[0] if found else clean_line(from_surrogates(value[:ADDRESS_LIMIT]), ADDRESS_LIMIT)


def safe_file_name(name: str, number: str, content_type: str) -> str:
    """A name to save a part under: no folders, no controls, nothing hidden, short; made up where there is none."""
    bare = clean_line(name, 1000).replace("\\", "/").rpartition("/")[2]
    bare = NOT_IN_FILE_NAME.sub("_", bare).strip(". ")
    if not bare:
        kind = content_type.partition("/")[2]
        ending = {"plain": "txt", "rfc822": "eml", "calendar": "ics", "jpeg": "jpg"}.get(kind, kind)
        return f"part-{number}.{ending}" if ending.isalnum() and len(ending) <= 5 else f"part-{number}.bin"
    extension = EXTENSION.search(bare)
    tail = extension[0] if extension else ""
    return bare.removesuffix(tail)[: FILE_NAME_LIMIT - len(tail)] + tail
