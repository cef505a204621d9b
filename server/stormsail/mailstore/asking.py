"""What people type into a search field, made into an FTS5 expression that means just that. Pure.

In: words, "phrases", `from:`, `to:`, `subject:`, `has:attachment`. Out: an expression in which every word is quoted;
none can reach the column that says whose mailboxes a message is in. The last word may be the beginning of one.
Raises BadRequest on a query without words.
"""

from __future__ import annotations

import hashlib
import re

from stormsail.digest import search_words
from stormsail.digest.characters import clean_line
from stormsail.domain.errors import BadRequest

QUERY_LIMIT = 500
TERMS_LIMIT = 20
TERM = re.compile(r'(?:([A-Za-z]+):)?(?:"([^"]*)"?|(\S+))')
COLUMNS = {
    "from": "author",
    "to": "recipients",
    "cc": "recipients",
    "subject": "subject",
    "body": "body",
    "id": "message_id",
}
ANYWHERE = "subject author recipients message_id body"
HEADERS = "subject author recipients message_id"
HAS_ATTACHMENT = "hasattachment"
TOKEN_LETTERS = 16


def box_token(mailbox: str) -> str:
    """The token of a new mailbox in the index; it depends on the address alone: made again, it is the same."""
    return "m" + hashlib.sha256(mailbox.encode("utf-8", "replace")).hexdigest()[:TOKEN_LETTERS]


def within(token: str, expression: str) -> str:
    """The expression narrowed to the mailbox with that token."""
    return f'boxes:"{token}" AND {expression}'


def fts_expression(query: str, *, bodies: bool = True) -> str:
    """The expression for a person's query; without `bodies` only headers are looked into. Raises BadRequest."""
    terms = list(TERM.finditer(clean_line(query, QUERY_LIMIT)))[:TERMS_LIMIT]
    asked: list[str] = []
    for number, term in enumerate(terms, 1):
        asked += _expression(term, last=number == len(terms), bodies=bodies)
    if not asked:
        raise BadRequest("The search has no word to look for")
    return " AND ".join(asked)


def _expression(term: re.Match[str], *, last: bool, bodies: bool) -> list[str]:
    key, phrase, word = (term[1] or "").lower(), term[2], term[3]
    if key == "has":
        return [f'boxes:"{HAS_ATTACHMENT}"'] if (word or phrase or "").lower().startswith("attach") else []
    text = phrase if phrase is not None else word
    if key and key not in COLUMNS:
        text = f"{key} {text}"
    columns = COLUMNS.get(key, ANYWHERE)
    if not bodies and "body" in columns:
        columns = HEADERS
    words = search_words(text)
    if not any(letter.isalnum() for letter in words):
        return []
    quoted = '"' + words.replace('"', " ") + '"'
    beginning = "*" if last and phrase is None and words[-1].isalnum() else ""
    return [f"{{{columns}}} : {quoted}{beginning}"]
