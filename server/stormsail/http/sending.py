"""Sending a message written here, exactly once per idempotency key.

In: a request of a signed-in person. Out: what was accepted, or what was answered to the same request earlier. Fails
with NotAllowed (not a mailbox of theirs, no event lets them send), IdempotencyKeyReused, and what compose refuses.
"""

from __future__ import annotations

import msgspec
import structlog

from stormsail.accounts import Account
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadRequest, NotAllowed, NotFound, OutcomeUnknown, StormsailError
from stormsail.domain.ids import id_to_text
from stormsail.intake import Draft
from stormsail.wire import SendRequest, SentAnswer

from .parts import ApiParts
from .shown import parse_id

log = structlog.get_logger()

KEY_LIMIT = 200
REFERENCES_LIMIT = 20
CLOSED = "Sending from here opens when a continuity event covers your mailbox; until then please use your usual mail"


def may_send(parts: ApiParts, mailbox: str) -> bool:
    """Whether people may send from that mailbox now: always, or while an event lets them."""
    return parts.settings().people.sending == "always" or parts.continuity.may_send(mailbox)


def check_key(key: str | None) -> str:
    """The Idempotency-Key header. Raises BadRequest."""
    if key is None or not key.strip():
        raise BadRequest("Sending needs an Idempotency-Key header, so that a repeated request sends nothing twice")
    if len(key) > KEY_LIMIT or not key.isascii() or not key.isprintable():
        raise BadRequest(f"An Idempotency-Key is at most {KEY_LIMIT} printable ASCII characters")
    return key


async def send_once(parts: ApiParts, account: Account, key: str, request: SendRequest) -> tuple[bytes, bool]:
    """The answer as JSON, and whether it is an earlier one."""
    earlier = await parts.accounts.sent_once.begin(account.id, key, msgspec.json.encode(request))
    if earlier is not None:
        return earlier, True
    sent_once = parts.accounts.sent_once
    try:
        answer = msgspec.json.encode(await _send(parts, account, request))
    except OutcomeUnknown:
        sent_once.lose(account.id, key)
        raise
    except StormsailError:
        await sent_once.abandon(account.id, key)
        raise
    except BaseException:
        sent_once.lose(account.id, key)
        raise
    try:
        await sent_once.finish(account.id, key, answer)
    except StormsailError as error:
        # The message is on its way: saying otherwise would have it sent twice.
        log.error("idempotency_key_not_written", why=error.sentence)
    return answer, False


async def _send(parts: ApiParts, account: Account, request: SendRequest) -> SentAnswer:
    draft = await _draft(parts, account, request)
    sent = await parts.intake.compose(draft)
    return SentAnswer(id=id_to_text(sent.id), message_id=sent.message_id, recipients=list(sent.recipients))


async def _draft(parts: ApiParts, account: Account, request: SendRequest) -> Draft:
    shown = str(parse_address(request.author or account.address))
    entry = parts.access.own(shown)
    if entry is None or not parts.access.may_use(account.address, entry.address):
        raise NotAllowed("The From address is not a mailbox of yours")
    if not may_send(parts, entry.address):
        raise NotAllowed(CLOSED)
    in_reply_to, references = await _thread(parts, account, request.in_reply_to)
    return Draft(
        entry.address,
        shown,
        entry.name,
        tuple(request.to),
        tuple(request.cc),
        tuple(request.bcc),
        request.subject,
        request.text,
        in_reply_to,
        references,
    )


async def _thread(parts: ApiParts, account: Account, answered: str | None) -> tuple[str | None, tuple[str, ...]]:
    """What a reply says of the message it answers (RFC 5322 §3.6.4)."""
    if answered is None:
        return None, ()
    view = await parts.mailstore.view(parse_id(answered, "message"))
    if not parts.access.may_use(account.address, view.copy.mailbox):
        raise NotFound("There is no such message")
    message_id = view.copy.header_message_id.strip("<>")
    if not message_id:
        return None, ()
    earlier = [reference.strip("<>") for reference in view.references or view.in_reply_to]
    return message_id, (*earlier[-REFERENCES_LIMIT:], message_id)
