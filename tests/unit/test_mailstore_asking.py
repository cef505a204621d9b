"""What people type into the search field means words, whatever it looks like."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormsail.digest import search_words
from stormsail.domain.errors import BadRequest
from stormsail.mailstore.asking import box_token, fts_expression, within

ANN, BEN = "ann@example.com", "ben@example.com"


def searchable(*rows: tuple[str, str, str, str]) -> sqlite3.Connection:
    """An index of (subject, author, body, boxes)."""
    connection = sqlite3.connect(":memory:")
    connection.execute(
        "CREATE VIRTUAL TABLE words USING fts5 (subject, author, recipients, message_id, body, boxes,"
        " content='', columnsize=0, tokenize='unicode61 remove_diacritics 2')"
    )
    for number, (subject, author, body, boxes) in enumerate(rows, 1):
        connection.execute(
            "INSERT INTO words (rowid, subject, author, recipients, message_id, body, boxes) VALUES (?,?,?,'','',?,?)",
            (number, search_words(subject), author, search_words(body), boxes),
        )
    return connection


def matches(connection: sqlite3.Connection, query: str, mailbox: str = ANN) -> list[int]:
    expression = within(box_token(mailbox), fts_expression(query))
    return [
        row[0] for row in connection.execute("SELECT rowid FROM words WHERE words MATCH ? ORDER BY 1", (expression,))
    ]


MINE = box_token(ANN)
INDEX = searchable(
    ("Quarterly report", "Olga olga@x.example", "The figures are attached.", f"{MINE} hasattachment"),
    ("Straßenfest", "Jörg joerg@x.example", "Grüße aus Köln, bis bald im Café", MINE),
    ("会議のお知らせ", "Ken ken@x.example", "明日の会議は十時です", MINE),
    ("Secret", "Olga olga@x.example", "The figures for Ben", f"{MINE} {box_token(BEN)}"),
    ("Not mine", "Olga olga@x.example", "The figures", box_token(BEN)),
)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("figures", [1, 4]),
        ("FIGURES attached", [1]),
        ("figu", [1, 4]),
        ("figu attached", []),
        ('"figures are"', [1]),
        ('"are figures"', []),
        ("from:olga", [1, 4]),
        ("from:olga subject:secret", [4]),
        ("subject:figures", []),
        ("has:attachment", [1]),
        ("olga has:attachments", [1]),
        ("olga@x.example", [1, 4]),
        ("strassenfest", [2]),
        ("Straßenfest", [2]),
        ("grusse koln", [2]),
        ("cafe", [2]),
        ("会議", [3]),
        ("議は", [3]),
        ("お知らせ", [3]),
        ("会十", []),
        ("re: report", []),
    ],
)
def test_queries_find_what_they_say(query: str, found: list[int]) -> None:
    assert matches(INDEX, query) == found


@pytest.mark.parametrize("query", [box_token(BEN), f"boxes:{box_token(BEN)}", f'"{box_token(BEN)}"', "hasattachment"])
def test_nobody_can_ask_whose_mailbox_else_a_message_is_in(query: str) -> None:
    assert matches(INDEX, query) == []


@pytest.mark.parametrize("query", ["", "   ", "!!!", '""', "*", "subject:()"])
def test_a_query_without_a_word_is_refused(query: str) -> None:
    with pytest.raises(BadRequest):
        fts_expression(query)


@given(st.text(max_size=80))
def test_no_text_is_a_syntax_error_or_leaves_the_mailbox(query: str) -> None:
    try:
        found = matches(INDEX, query)
    except BadRequest:
        return
    assert 5 not in found


@given(st.lists(st.sampled_from(["AND", "OR", "NOT", "NEAR(", ")", '"', "*", "^", "-", "a", "boxes:", "{", "}", ":"])))
def test_the_syntax_of_the_index_means_nothing(words: list[str]) -> None:
    try:
        assert 5 not in matches(INDEX, " ".join(words))
    except BadRequest:
        return
