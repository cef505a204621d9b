"""Which deliveries an operator's selector names (CONTRACT: `stormsail queue`)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

import stormsail.ledger
from stormsail.domain.errors import BadRequest
from stormsail.domain.ids import id_to_text
from stormsail.domain.states import FINAL, OPEN, DeliveryState
from stormsail.ledger import QueueFilter
from stormsail.ledger.queries import parse_selector
from stormsail.store import migrate

NOW = 1_772_445_600_000
FIRST = NOW << 21
MIGRATIONS = Path(stormsail.ledger.__file__).parent / "migrations"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("all", QueueFilter()),
        (f"id:{id_to_text(FIRST)}", QueueFilter(id=FIRST)),
        (f"id:{id_to_text(FIRST).upper()}", QueueFilter(id=FIRST)),
        ("recipient:ann@example.com", QueueFilter(recipient="ann@example.com")),
        ("reverse_path:<>", QueueFilter(reverse_path="")),
        ("domain:Example.COM", QueueFilter(domain="example.com")),
        ("state:held", QueueFilter(state=DeliveryState.HELD)),
        ("age:90s", QueueFilter(older_than_ms=90_000)),
        ("age:2h", QueueFilter(older_than_ms=7_200_000)),
        ("lane:primary:exchange", QueueFilter(lane="primary:exchange")),
        ("  state:held   domain:a.example ", QueueFilter(state=DeliveryState.HELD, domain="a.example")),
        ("all state:deferred", QueueFilter(state=DeliveryState.DEFERRED)),
    ],
)
def test_a_selector_is_understood(text: str, wanted: QueueFilter) -> None:
    assert parse_selector(text) == wanted


@pytest.mark.parametrize(
    "text",
    ["", "   ", "everything", "state:", "state:sick", "state:HELD", "id:", "id:123", "id:uuuuuuuuuuuuu", "age:5", "age:5y",
     "age:-5m", "age:m", "colour:red", "held", ":", "recipient:", "state: held", "age:99999999999999999999999d", "age:²d"],
)  # fmt: skip
def test_what_is_no_selector_is_refused_in_words(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_selector(text)
    assert len(caught.value.sentence) > 10


@pytest.fixture
def ledger() -> sqlite3.Connection:
    """Four messages of growing age, with a delivery in every state for each of two recipients."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection, MIGRATIONS)
    for number in range(4):
        at = NOW - number * 60_000
        message = FIRST + number * 1000
        reverse_path = "" if number == 3 else f"Sender{number}@example.org"
        connection.execute(
            "INSERT INTO message VALUES (?, 'mx', ?, ?, '', '', '', NULL, 0, 28, 1, x'', 'd', 'f', 0)",
            (message, reverse_path, at),
        )
        for place, state in enumerate(DeliveryState):
            for offset, local in enumerate(("Ann", "bob")):
                connection.execute(
                    "INSERT INTO delivery (id, message_id, recipient, domain, known, lane, state, due_at, attempts,"
                    " changed_at) VALUES (?, ?, ?, ?, 1, ?, ?, ?, 0, ?)",
                    (message + place * 2 + offset + 1, message, f"{local}@d{number}.example", f"d{number}.example",
                     f"lane{number}", state, at, at),
                )  # fmt: skip
    return connection


def found(ledger: sqlite3.Connection, text: str) -> list[tuple[str, str]]:
    condition, values = parse_selector(text).where(NOW)
    sql = f"SELECT d.recipient, d.state FROM delivery d JOIN message m ON m.id = d.message_id WHERE {condition}"
    return [(row[0], row[1]) for row in ledger.execute(sql, values)]


def test_all_means_everything_that_is_open(ledger: sqlite3.Connection) -> None:
    rows = found(ledger, "all")
    assert len(rows) == 4 * 2 * len(OPEN)
    assert {state for _, state in rows} == {str(state) for state in OPEN}


def test_a_final_state_is_found_only_where_it_is_named(ledger: sqlite3.Connection) -> None:
    for state in FINAL:
        assert {row[1] for row in found(ledger, f"state:{state}")} == {str(state)}


@pytest.mark.parametrize(
    ("text", "recipients"),
    [
        ("recipient:ANN@d1.example", {"Ann@d1.example"}),
        ("reverse_path:sender2@EXAMPLE.org", {"Ann@d2.example", "bob@d2.example"}),
        ("reverse_path:<>", {"Ann@d3.example", "bob@d3.example"}),
        ("domain:d1.example", {"Ann@d1.example", "bob@d1.example"}),
        ("lane:lane0", {"Ann@d0.example", "bob@d0.example"}),
        (f"id:{id_to_text(FIRST + 1000)}", {"Ann@d1.example", "bob@d1.example"}),
        ("age:90s", {"Ann@d2.example", "bob@d2.example", "Ann@d3.example", "bob@d3.example"}),
    ],
)
def test_a_selector_finds_what_it_names_and_nothing_else(
    ledger: sqlite3.Connection, text: str, recipients: set[str]
) -> None:
    rows = found(ledger, text)
    assert {row[0] for row in rows} == recipients
    assert len(rows) == len(recipients) * len(OPEN)


def test_selectors_narrow_each_other(ledger: sqlite3.Connection) -> None:
    assert found(ledger, "domain:d1.example state:held recipient:ann@d1.example") == [("Ann@d1.example", "held")]
    assert found(ledger, "domain:d1.example recipient:ann@d2.example") == []
    one = id_to_text(FIRST + 1)
    assert found(ledger, f"id:{one}") == [("Ann@d0.example", "queued")]


def test_a_value_is_never_taken_for_sql(ledger: sqlite3.Connection) -> None:
    assert found(ledger, "recipient:x'/**/OR/**/1=1--") == []
    assert found(ledger, "domain:%") == []
