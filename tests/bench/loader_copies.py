"""The loader's copies: `mail.db` with mailboxes, folders, messages and copies, and a search database for each day.

In: the plan. Out: databases that agree with the ledger that `loader_ledger` makes of the same plan. Every message has
been read already: the gateway has nothing to do when it starts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.letters import Letter, letter
from bench.loader import RECIPIENT, Plan, Times, address, filling
from bench.loader_ledger import HEAD, MAILBOX, RECIPIENTS
from stormsail.digest import Correspondent, PartNode
from stormsail.domain.ids import COUNTER_BITS
from stormsail.mailstore.asking import box_token
from stormsail.mailstore.digested import DIGEST_FORMAT
from stormsail.mailstore.filing import raw_prefix
from stormsail.mailstore.index import INSERT_WORDS, search_path
from stormsail.mailstore.index import MIGRATIONS as SEARCH_MIGRATIONS
from stormsail.mailstore.opening import FILE, MIGRATIONS, UIDVALIDITY_FILE
from stormsail.mailstore.search import pack_view
from stormsail.mailstore.values import INBOX, CopyState, Envelope, ShownText
from stormsail.store import BodyRef

INSERT_MESSAGE = f"INSERT INTO message VALUES ({','.join('?' * 17)})"
COPIES = f"""
INSERT INTO copy (id, message_id, mailbox_id, folder_id, uid, modseq, flags, internal_date, sent)
SELECT id + k + 1, id, box + 1, box + 1, uid, uid, n % 10 != 0, received_at, 0
FROM (SELECT *, CASE WHEN box = 0 THEN 1 + n / :every ELSE 1 + (n * :fan_out + k) / (:mailboxes - 1) END AS uid
    FROM (SELECT *, {MAILBOX} AS box
        FROM (SELECT id, received_at, (received_at - :first) / :step AS n FROM message) CROSS JOIN place))
"""
_ENCODER = msgspec.msgpack.Encoder()


def load_copies(data_dir: Path, plan: Plan, times: Times, bodies: Sequence[BodyRef]) -> None:
    """Makes and fills `mail.db`, and the file with UIDVALIDITY."""
    validity = times.first // 1000
    (data_dir / UIDVALIDITY_FILE).write_text(str(validity), "ascii")
    with filling(data_dir / FILE, MIGRATIONS) as connection:
        newest = times.at(plan.messages - 1) << COUNTER_BITS
        connection.execute("INSERT INTO follower (one, cursor, clean) VALUES (1, ?, 1)", (newest,))
        _make_boxes(connection, plan, validity)
        for day, ref in enumerate(bodies):
            connection.executemany(INSERT_MESSAGE, _messages(plan, times, day, ref))
        connection.execute(RECIPIENTS)
        connection.executemany("INSERT INTO place VALUES (?)", [(k,) for k in range(plan.fan_out)])
        numbers = {"first": times.first, "step": times.step, "fan_out": plan.fan_out}
        connection.execute(COPIES, {**numbers, "every": plan.every, "mailboxes": plan.mailboxes})


def _make_boxes(connection: sqlite3.Connection, plan: Plan, validity: int) -> None:
    """Mailbox n has the ids n + 1, for itself and its inbox; its next UID is above all that `COPIES` gives."""
    largest = 2 + plan.messages // plan.every
    others = 2 + plan.messages * plan.fan_out // (plan.mailboxes - 1)
    used = [largest, *[others] * (plan.mailboxes - 1)]
    connection.executemany(
        "INSERT INTO mailbox (id, address, token, modseq) VALUES (?,?,?,?)",
        [(number + 1, address(number), box_token(address(number)), used[number]) for number in range(plan.mailboxes)],
    )
    connection.executemany(
        "INSERT INTO folder (id, mailbox_id, name, uidvalidity, uidnext, reserved, highestmodseq)"
        " VALUES (?,?,?,?,?,?,?)",
        [(number + 1, number + 1, INBOX, validity, uid, uid, uid) for number, uid in enumerate(used)],
    )


def _messages(plan: Plan, times: Times, day: int, ref: BodyRef) -> Iterator[tuple[object, ...]]:
    size = len(raw_prefix("a@elsewhere.example", HEAD)) + ref.length
    structure = _ENCODER.encode(PartNode("1", "text/plain", "utf-8", "8bit", ref.length, 10))
    for number in times.numbers_of(day, plan.messages):
        at = times.at(number)
        written = letter(number)
        author = Correspondent(written.author, written.address)
        envelope = _ENCODER.encode(Envelope((author,), (), (Correspondent("", address(0)),)))
        yield (
            (at << COUNTER_BITS, ref.day, at, size, CopyState.READY, "", written.subject, written.author)
            + (written.address, at, f"<{number}@elsewhere.example>", written.text[:200], 0, len(HEAD))
            + (envelope, structure, DIGEST_FORMAT)
        )


def load_search(data_dir: Path, plan: Plan, times: Times, day: int) -> None:
    """Makes and fills the search database of the `day`-th day."""
    name = times.days(plan.messages)[day]
    tokens = [box_token(address(number)) for number in range(plan.mailboxes)]
    numbers = times.numbers_of(day, plan.messages)
    with filling(search_path(data_dir, name), SEARCH_MIGRATIONS, indices=False) as connection:
        ids = [(times.at(number) << COUNTER_BITS,) for number in numbers]
        connection.executemany("INSERT INTO done VALUES (?)", ids)
        for number in numbers:
            written = letter(number)
            message_id = times.at(number) << COUNTER_BITS
            connection.execute("INSERT INTO shown VALUES (?,?)", (message_id, pack_view(_shown(written))))
            boxes = " ".join(tokens[box] for box in boxes_of(plan, number))
            values = (message_id, written.subject, f"{written.author} {written.address}", RECIPIENT)
            connection.execute(INSERT_WORDS, (*values, f"<{number}@elsewhere.example>", written.text, boxes))


def boxes_of(plan: Plan, number: int) -> list[int]:
    """The mailboxes with a copy of a message, by the same rule as `MAILBOX`."""
    boxes = [1 + (number * plan.fan_out + k) % (plan.mailboxes - 1) for k in range(plan.fan_out)]
    return [0, *boxes[1:]] if number % plan.every == 0 else boxes


def _shown(written: Letter) -> ShownText:
    headers = (("From", f"{written.author} <{written.address}>"), ("Subject", written.subject))
    return ShownText(written.text, "", 0, headers)
