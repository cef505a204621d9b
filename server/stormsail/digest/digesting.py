"""From a message's octets to its digest, whatever they are.

In: a request. Out: an answer, always: where the parser fails the message is scanned instead, with the problem named.
MemoryError makes the child say that it wants to be replaced.
"""

from __future__ import annotations

import msgspec

from .characters import clean_text
from .fields import read_addresses, read_date, read_ids, read_line, read_message_id, safe_file_name
from .parsing import HOSTILE, Part, TooComplex, parse
from .protocol import Answer, Digest, PartAnswer, Refusal, Request, Task
from .safe_html import SafeHtml, text_of
from .scanning import header_length, preview_of, scan
from .shown import TEXT_LIMIT, Showing, Shown, cut_type, find_leaf
from .words import search_words

SHOWN_FIELDS = 200
SHOWN_VALUE = 2_000
HEADER_SEARCHED = 1 << 22
FOR_PEOPLE_ONLY_IN_SENT = frozenset({"bcc", "resent-bcc"})
"""Fields that are not listed: whoever reads a copy must not learn of others (RFC 5322 §3.6.3)."""


class Digester:
    """Makes digests, one after the other."""

    def __init__(self) -> None:
        self._cleaner = SafeHtml()

    def answer(self, request: Request) -> Answer:
        """The answer to a request."""
        try:
            match request.task:
                case Task.DIGEST:
                    return self._digest(request.content)
                case Task.PART:
                    return _take_part(request.content, request.part)
                case Task.SCAN:
                    return scan(request.content, "The message could not be taken apart; this is its beginning")
        except TooComplex as error:
            return _instead(request, str(error), retire=False)
        except HOSTILE as error:
            return _instead(request, f"The message could not be taken apart ({type(error).__name__})", retire=False)
        except MemoryError:
            return _instead(request, "The message needs too much memory to be taken apart", retire=True)

    def _digest(self, content: memoryview) -> Digest:
        message = parse(content)
        showing = Showing(self._cleaner)
        shown = showing.show(message)
        text = shown.plain or text_of(shown.html)
        searched = search_words(_searched(shown, text))
        return Digest(
            problem=showing.problem,
            subject=read_line(message.value("subject")),
            authors=read_addresses(message.all_values("from")),
            reply_to=read_addresses(message.all_values("reply-to")),
            to=read_addresses(message.all_values("to")),
            cc=read_addresses(message.all_values("cc")),
            date=read_date(message.value("date")),
            message_id=read_message_id(message.value("message-id")),
            references=read_ids(message.value("references")),
            in_reply_to=read_ids(message.value("in-reply-to")),
            auto_submitted=read_line(message.value("auto-submitted"), 100).lower(),
            preview=preview_of(text),
            text=text,
            html=shown.html,
            words="" if searched == text else searched,
            remote_images=shown.remote_images,
            headers=_headers(message),
            header_length=header_length(bytes(content[:HEADER_SEARCHED])),
            structure=shown.node,
        )


def _searched(shown: Shown, text: str) -> str:
    """The text to search: both forms where the plain one is a mere stub ("your program cannot show HTML")."""
    if not shown.html or not shown.plain:
        return text
    rich = text_of(shown.html)
    return text if 2 * len(text) >= len(rich) else clean_text(f"{text}\n{rich}", TEXT_LIMIT)


def _headers(message: Part) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, value in message.fields():
        if len(found) == SHOWN_FIELDS:
            break
        if name.lower() not in FOR_PEOPLE_ONLY_IN_SENT:
            found.append((read_line(name, 100), read_line(value, SHOWN_VALUE)))
    return tuple(found)


def _take_part(content: memoryview, number: str) -> Answer:
    part = find_leaf(parse(content), number)
    if part is None:
        return Refusal("There is no such part")
    kind = cut_type(part)
    return PartAnswer(safe_file_name(part.file_name, number, kind), kind, part.octets())


def _instead(request: Request, problem: str, *, retire: bool) -> Answer:
    """What is answered where parsing failed."""
    if request.task is Task.PART:
        return Refusal(problem)
    return msgspec.structs.replace(scan(request.content, problem), retire=retire)
