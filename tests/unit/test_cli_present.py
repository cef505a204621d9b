"""What the command line prints: aligned, with ages, and harmless whatever it shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from stormsail.cli.present import ago, clip, duration, plural, safe, table, width

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["\x1b[2J\x1b[H", "a\rb", "line\nline", "\x9b31m", "bidi \u202egpj.exe", "zero\u200bwidth", "\x00"]
)
def test_nothing_foreign_moves_the_cursor_or_turns_the_text(text: str) -> None:
    assert safe(text).isprintable()
    assert len(safe(text)) == len(text)


@pytest.mark.parametrize("text", ["Grüße aus Köln", "会議の議事録", "Привет", "naïve café", "👍 fine"])
def test_letters_of_all_languages_stay(text: str) -> None:
    assert safe(text) == text


def test_columns_line_up_also_with_wide_letters() -> None:
    lines = table(("NAME", "N"), [("会議", 1), ("ann", 22)])
    assert [width(line[: line.rindex(" ")]) for line in lines] == [5, 5, 5]


def test_a_table_without_rows_is_no_table() -> None:
    assert table(("A", "B"), []) == []


def test_a_cell_cannot_leave_its_line() -> None:
    assert len(table(("A", "B"), [("x\ny", "\x1b[1m")])) == 2


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (7200, "2 h"), (90_000, "1 d")]
)
def test_a_duration_is_told_in_its_largest_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ("2026-03-02T09:48:00Z", "2026-03-02 09:48:00Z (12 min ago)"),
        ("2026-03-02T10:00:30Z", "2026-03-02 10:00:30Z (in 30 s)"),
        (None, "-"),
    ],
)
def test_a_time_comes_with_its_age(time: str | None, text: str) -> None:
    assert ago(time, NOW) == text


def test_counts_agree_with_their_noun() -> None:
    assert (plural(1, "delivery", "deliveries"), plural(0, "segment")) == ("1 delivery", "0 segments")


def test_a_long_reply_is_cut_visibly() -> None:
    assert clip("0123456789", 5) == "0123…"
