"""Output: aligned text for people, JSON for programs. Everything foreign is made harmless for a terminal first.

Pure but for `print_out`, `print_json`, `warn` and `confirm_word`.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime

from .link import Answered

GAP = "  "
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def safe(text: object) -> str:
    """The text with every character that a terminal might act on as `?`; letters of all languages stay."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def width(text: str) -> int:
    """How many columns a terminal needs for the text."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def table(head: Sequence[str], rows: Sequence[Sequence[object]], indent: str = "") -> list[str]:
    """Lines of aligned columns under a head; none where there are no rows."""
    if not rows:
        return []
    cells = [list(head), *[[safe("" if cell is None else cell) for cell in row] for row in rows]]
    widths = [max(width(row[column]) for row in cells) for column in range(len(head))]
    return [
        indent + GAP.join(cell + " " * (widths[at] - width(cell)) for at, cell in enumerate(row)).rstrip()
        for row in cells
    ]


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h`, `2 d`: the largest unit that fits."""
    for size, name in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {name}"
    return "0 s"


def ago(time: str | None, now: datetime | None = None) -> str:
    """A time of the API with its age, `2026-03-02 10:00:00Z (12 min ago)`; `-` for none."""
    if time is None:
        return "-"
    at = datetime.fromisoformat(time)
    seconds = ((now or datetime.now(UTC)) - at).total_seconds()
    age = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    return f"{at.strftime('%Y-%m-%d %H:%M:%SZ')} ({age})"


def clip(text: str, columns: int) -> str:
    """The text cut to so many characters, with an ellipsis where something is missing."""
    return text if len(text) <= columns else text[: columns - 1] + "…"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 delivery`, `2 deliveries`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def print_out(*lines: str) -> None:
    """Lines for people."""
    for line in lines:
        print(line)


def print_json(answer: Answered | object) -> None:
    """One JSON value, in ASCII, so that it is harmless on a terminal too."""
    value = json.loads(answer.content) if isinstance(answer, Answered) else answer
    print(json.dumps(value, indent=2))


def warn(text: str) -> None:
    """One line on stderr."""
    print(safe(text), file=sys.stderr)


def confirm_word(word: str, question: str) -> bool:
    """Asks for a typed word where somebody sits at a terminal; a script has said what it wants already."""
    if not sys.stdin.isatty():
        return True
    print(f"{question}\nType {word} to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == word
