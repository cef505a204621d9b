"""SEARCH of the sandbox's IMAP (RFC 3501 §6.4.4), the keys that mail programs use.

In: the words of the criteria. Out: a predicate over (sequence number, stored message). Raises ImapSyntaxError.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import parsedate_to_datetime

from .imap_structure import split_message
from .imap_syntax import ImapSyntaxError, numbers_of
from .mailboxes import Stored

Test = Callable[[int, Stored], bool]
FLAG_KEYS = {
    "SEEN": "\\Seen",
    "ANSWERED": "\\Answered",
    "FLAGGED": "\\Flagged",
    "DELETED": "\\Deleted",
    "DRAFT": "\\Draft",
}
FIELD_KEYS = frozenset({"SUBJECT", "FROM", "TO", "CC", "BCC"})
DATE_KEYS = frozenset({"SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON"})


class Criteria:
    """Reads words one after another. `last_number` and `last_uid` are what `*` stands for."""

    def __init__(self, words: list[object], last_number: int, last_uid: int) -> None:
        self._words = list(words)
        self._last = (last_number, last_uid)

    def read_all(self) -> Test:
        """All that is left, joined by and."""
        tests = []
        while self._words:
            tests.append(self._read())
        return lambda number, stored: all(test(number, stored) for test in tests)

    def _read(self) -> Test:
        word = self._words.pop(0)
        if isinstance(word, list):
            return Criteria(word, *self._last).read_all()
        key = str(word).upper()
        if key == "CHARSET":
            self._word()
            return _everything
        if key in ("ALL", "OLD"):
            return _everything
        if key in ("NEW", "RECENT"):
            return lambda _, stored: "\\Seen" not in stored.flags
        if key == "NOT":
            test = self._read()
            return lambda number, stored: not test(number, stored)
        if key == "OR":
            left, right = self._read(), self._read()
            return lambda number, stored: left(number, stored) or right(number, stored)
        return self._read_flag(key) or self._read_with_argument(key)

    def _read_flag(self, key: str) -> Test | None:
        wanted = not key.startswith("UN")
        flag = FLAG_KEYS.get(key.removeprefix("UN"))
        if flag is None:
            return None
        return lambda _, stored: (flag in stored.flags) is wanted

    def _read_with_argument(self, key: str) -> Test:
        if key in FIELD_KEYS:
            return _field_contains(key, self._word())
        if key == "HEADER":
            return _field_contains(self._word(), self._word())
        if key in ("BODY", "TEXT"):
            return _text_contains(self._word(), body_only=key == "BODY")
        if key in DATE_KEYS:
            return _date_test(key, _date(self._word()))
        if key in ("LARGER", "SMALLER"):
            size = int(self._word())
            return lambda _, stored: stored.size > size if key == "LARGER" else stored.size < size
        if key == "UID":
            uids = numbers_of(self._word(), self._last[1])
            return lambda _, stored: any(stored.uid in wanted for wanted in uids)
        if key[:1].isdigit() or key[:1] == "*":
            numbers = numbers_of(key, self._last[0])
            return lambda number, _: any(number in wanted for wanted in numbers)
        raise ImapSyntaxError(f"there is no search key {key}")

    def _word(self) -> str:
        if not self._words:
            raise ImapSyntaxError("a search key lacks its argument")
        return str(self._words.pop(0))


def _everything(_: int, __: Stored) -> bool:
    return True


def _field_contains(name: str, text: str) -> Test:
    def test(_: int, stored: Stored) -> bool:
        values = message_from_bytes(split_message(stored.read())[0]).get_all(name) or []
        return any(text.casefold() in _decoded(str(value)).casefold() for value in values)

    return test


def _decoded(value: str) -> str:
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError):
        return value


def _text_contains(text: str, *, body_only: bool) -> Test:
    wanted = text.casefold()

    def test(_: int, stored: Stored) -> bool:
        message = message_from_bytes(stored.read())
        texts = [] if body_only else [_decoded(str(value)) for value in message.values()]
        for part in message.walk():
            payload = part.get_payload(decode=True) if part.get_content_maintype() == "text" else None
            texts.append(payload.decode("utf-8", "replace") if isinstance(payload, bytes) else "")
        return any(wanted in each.casefold() for each in texts)

    return test


def _date(text: str) -> date:
    try:
        return datetime.strptime(text, "%d-%b-%Y").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise ImapSyntaxError(f"{text!r} is no date") from error


def _date_test(key: str, wanted: date) -> Test:
    def test(_: int, stored: Stored) -> bool:
        found = _sent_on(stored) if key.startswith("SENT") else datetime.fromtimestamp(stored.at, UTC).date()
        kind = key.removeprefix("SENT")
        return found >= wanted if kind == "SINCE" else found < wanted if kind == "BEFORE" else found == wanted

    return test


def _sent_on(stored: Stored) -> date:
    written = message_from_bytes(split_message(stored.read())[0]).get("Date", "")
    try:
        return parsedate_to_datetime(str(written)).date()
    except ValueError:
        return datetime.fromtimestamp(stored.at, UTC).date()
