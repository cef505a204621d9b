"""Octets to text, and text made harmless: charsets that exist or not, controls, bidirectional overrides.

In: octets with the charset they claim, or decoded text. Out: valid Unicode that can be encoded as UTF-8, without NUL.
Never raises. Charsets are looked up as the WHATWG does where mail disagrees with the registries: ISO-8859-1 means
windows-1252, GB2312 means GB18030 (RFC 2045 §6, RFC 2047 §2).
"""

from __future__ import annotations

import re

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,39}")
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")
SURROGATES = re.compile("[\ud800-\udfff]")
LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
BLANKS = re.compile("[\\s\u2028\u2029]+")
OVERRIDES = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Embeddings, overrides and isolates: they can make a name or a file name read as another."""
UNREADABLE = "\ufffd"
MEANT = {
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "big5": "big5hkscs",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "unicode-1-1-utf-7": "utf-7",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
}
NOT_FOR_MAIL = frozenset(
    {"idna", "punycode", "unicode_escape", "unicode-escape", "raw_unicode_escape", "raw-unicode-escape", "undefined"}
)
"""Python's own codecs that are no charsets, and slow on long input."""


def decode(content: bytes, charset: str | None) -> str:
    """The text in `content`; what cannot be read becomes U+FFFD. Without a known charset: UTF-8, else windows-1252."""
    name = (charset or "").strip().strip("\"'").lower()
    if name not in ("", "us-ascii", "ascii", "utf-8", "utf8") and NAME.fullmatch(name) and name not in NOT_FOR_MAIL:
        try:
            return _sound(content.decode(MEANT.get(name, name), "replace"))
        except (LookupError, ValueError, UnicodeError, OverflowError):
            pass
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        errors_mean_utf8 = name in ("utf-8", "utf8")
        return content.decode("utf-8" if errors_mean_utf8 else "cp1252", "replace")


def from_surrogates(text: str) -> str:
    """Text as `email` gives it, with its undecoded octets read as UTF-8 or windows-1252."""
    if text.isascii() or not SURROGATES.search(text):
        return text
    return decode(text.encode("utf-8", "surrogateescape"), None)


def clean_text(text: str, limit: int) -> str:
    """Text of several lines: LF as line end, tabs kept, other controls shown as U+FFFD, cut to `limit` characters."""
    return CONTROLS.sub(UNREADABLE, LINE_ENDS.sub("\n", _sound(text[:limit])))


def clean_line(text: str, limit: int) -> str:
    """Text of one line for a header field or a name: blanks collapsed, controls shown, overrides taken away."""
    flat = BLANKS.sub(" ", _sound(text[: limit * 2])).strip()
    return CONTROLS.sub(UNREADABLE, OVERRIDES.sub("", flat))[:limit]


def _sound(text: str) -> str:
    return text if text.isascii() else SURROGATES.sub(UNREADABLE, text)
