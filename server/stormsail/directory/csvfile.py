"""The directory's CSV form, read strictly: columns `address,name,segment,kind,aliases,members`.

In: the text of a file and the names of our domains. Out: entries with their line numbers, and every mistake, a
sentence each that begins with its line; nothing is guessed and nothing is dropped. Lists in a cell are separated by
spaces; a quoted local part (RFC 5321 §4.1.2) may hold some.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Collection, Iterator

import msgspec

from stormsail.domain.address import CONTROL, Address, parse_address
from stormsail.domain.errors import BadAddress

from .snapshot import Entry, EntryKind

COLUMNS = ("address", "name", "segment", "kind", "aliases", "members")
WITH_MEMBERS = frozenset({EntryKind.GROUP, EntryKind.SHARED, EntryKind.RESOURCE})
LIST_ITEM = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^\s"])+')
CELL_LIMIT = 16 << 20
"""A group of everybody in a large company is one cell; the csv module's own limit of 128 kB is too small for it."""

csv.field_size_limit(CELL_LIMIT)


class Reading(msgspec.Struct):
    """What a file holds: entries by line, and what is wrong with it."""

    lines: list[tuple[int, Entry]] = []
    mistakes: list[str] = []

    def blame(self, line: int, sentence: str) -> None:
        self.mistakes.append(f"line {line}: {sentence}")


def read_csv(text: str, ours: Collection[str]) -> Reading:
    """Reads the whole file whatever is wrong with it; `ours` are the names of our domains."""
    reading = Reading()
    rows = _rows(text.removeprefix("\ufeff"), reading)
    columns = _read_header(rows, reading)
    if columns is not None:
        for line, cells in rows:
            _read_row(line, cells, columns, ours, reading)
    return reading


def _rows(text: str, reading: Reading) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not empty, with the number of the line it starts on."""
    first_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reading.blame(line, f"not CSV: {error}")
            continue
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip() for cell in cells]


def _read_header(rows: Iterator[tuple[int, list[str]]], reading: Reading) -> dict[int, str] | None:
    """Which column is which, in any order and case; None where there is no making sense of the rest."""
    line, names = next(rows, (1, []))
    columns: dict[int, str] = {}
    for number, written in enumerate(names):
        name = written.lower()
        if name in columns.values():
            reading.blame(line, f"the column {name} is there twice")
        elif name in COLUMNS:
            columns[number] = name
        elif name:
            columns[number] = written
            reading.blame(line, _unknown(f"there is no column {written!r}", name, COLUMNS))
    if "address" not in columns.values():
        reading.blame(line, "the first line must name the columns, and there must be one called address")
        return None
    return columns


def _unknown(what: str, name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"{what}, did you mean {near[0]}?" if near else f"{what}, known are {', '.join(known)}"


def _read_row(line: int, cells: list[str], columns: dict[int, str], ours: Collection[str], reading: Reading) -> None:
    values = dict.fromkeys(COLUMNS, "")
    for number, cell in enumerate(cells):
        if number in columns:
            values[columns[number]] = cell
        elif cell:
            reading.blame(line, f"{cell!r} stands in no column")
    before = len(reading.mistakes)
    for column in ("name", "segment"):
        if CONTROL.search(values[column]):
            reading.blame(line, f"the {column} contains control characters or a line break")
    kind = _read_kind(line, values["kind"], reading)
    address = _read_address(line, values["address"], kind, ours, reading)
    aliases = _read_list(line, values["aliases"], "alias", ours, reading)
    members = _read_list(line, values["members"], "member", None, reading)
    if members and kind not in WITH_MEMBERS:
        reading.blame(line, f"a {kind} has no members, only a group, a shared address or a resource has")
    if address is None or len(reading.mistakes) > before:
        return
    aliases = tuple(alias for alias in aliases if alias != address.key)
    reading.lines.append((line, Entry(address.key, values["name"], values["segment"] or None, kind, aliases, members)))


def _read_kind(line: int, written: str, reading: Reading) -> EntryKind:
    try:
        return EntryKind(written.lower()) if written else EntryKind.MAILBOX
    except ValueError:
        reading.blame(
            line, _unknown(f"there is no kind {written!r}", written.lower(), [kind.value for kind in EntryKind])
        )
        return EntryKind.MAILBOX


def _read_address(line: int, written: str, kind: EntryKind, ours: Collection[str], reading: Reading) -> Address | None:
    if not written:
        reading.blame(line, "the address is missing")
        return None
    return _parse(line, written, "address", None if kind is EntryKind.CONTACT else ours, reading)


def _read_list(line: int, cell: str, what: str, ours: Collection[str] | None, reading: Reading) -> tuple[str, ...]:
    """The keys in a cell, each once; `ours` None lets any domain pass."""
    parsed = (_parse(line, written, what, ours, reading) for written in LIST_ITEM.findall(cell))
    return tuple(dict.fromkeys(address.key for address in parsed if address is not None))


def _parse(line: int, written: str, what: str, ours: Collection[str] | None, reading: Reading) -> Address | None:
    try:
        address = parse_address(written)
    except BadAddress as error:
        reading.blame(line, f"the {what} {written!r} is none: {error.sentence}")
        return None
    if ours is not None and address.domain not in ours:
        hint = _unknown(f"the {what} {written!r} is in no domain of ours", address.domain, sorted(ours))
        reading.blame(line, hint)
        return None
    return address
