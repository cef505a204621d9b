"""Which copies a message gets: the envelope decides, and nothing else (DESIGN §3.9, §5)."""

from __future__ import annotations

import pytest

from stormsail.domain.routing import Direction
from stormsail.domain.states import DeliveryState
from stormsail.ledger import MessageFlag, MessageRow
from stormsail.ledger.following import Followed, FollowedDelivery
from stormsail.mailstore.filing import PlannedCopy, plan_copies, raw_prefix, sent_hash
from stormsail.store import BodyRef
from testkit.mailbox_copies import ANN, BEN, CAY, DIRECTORY, EVERYBODY, SALES

BODY = BodyRef("2026-03-02", "s-1", 0, 10)


def to(mailbox: str | None, state: DeliveryState = DeliveryState.QUEUED, **more: object) -> FollowedDelivery:
    attempts, reply = more.get("attempts", 0), more.get("reply", "")
    assert isinstance(attempts, int)
    assert isinstance(reply, str)
    return FollowedDelivery(mailbox or "stranger@elsewhere.example", mailbox, state, attempts, reply)


def message(
    *deliveries: FollowedDelivery,
    direction: Direction = Direction.MX,
    author: str | None = None,
    flags: MessageFlag = MessageFlag.NONE,
) -> Followed:
    row = MessageRow(1, direction, "o@x.example", 0, "", "", "", author, flags, len(deliveries), 10, b"", BODY)
    return Followed(row, deliveries)


def places(followed: Followed) -> set[tuple[str, str]]:
    return {(copy.mailbox, copy.folder) for copy in plan_copies(followed, DIRECTORY)}


def test_each_known_recipient_gets_one_copy_in_the_inbox() -> None:
    assert places(message(to(ANN), to(SALES), to(None))) == {(ANN, "inbox"), (SALES, "inbox")}


def test_a_group_reaches_its_members_once_even_if_one_is_addressed_too() -> None:
    copies = plan_copies(message(to(EVERYBODY), to(ANN)), DIRECTORY)
    assert sorted(copy.mailbox for copy in copies) == [ANN, BEN]


def test_a_repeat_and_what_was_refused_at_the_door_have_no_copy() -> None:
    refused, absorbed = to(ANN, DeliveryState.REFUSED), to(BEN, DeliveryState.ABSORBED)
    assert places(message(refused, absorbed, to(CAY))) == {(CAY, "inbox")}


@pytest.mark.parametrize(
    ("reply", "folder"), [("554 5.7.1 Spam", "junk"), ("552 5.3.4 Too large", "inbox"), ("", "junk")]
)
def test_what_the_primary_refused_later_is_in_junk_or_for_its_size_in_the_inbox(reply: str, folder: str) -> None:
    assert places(message(to(ANN, DeliveryState.REFUSED, attempts=1, reply=reply))) == {(ANN, folder)}


def test_a_mailbox_that_left_the_directory_keeps_its_mail() -> None:
    assert places(message(to("gone@example.com"))) == {("gone@example.com", "inbox")}


@pytest.mark.parametrize("direction", [Direction.COMPOSE, Direction.SUBMISSION])
def test_what_is_written_here_stands_in_its_authors_sent_folder(direction: Direction) -> None:
    written = message(to(BEN), to(None), direction=direction, author=ANN)
    assert PlannedCopy(ANN, "sent", True, (BEN, "stranger@elsewhere.example")) in plan_copies(written, DIRECTORY)


def test_writing_to_oneself_gives_a_sent_copy_and_one_in_the_inbox() -> None:
    assert places(message(to(ANN), direction=Direction.COMPOSE, author=ANN)) == {(ANN, "inbox"), (ANN, "sent")}


def test_the_connector_gives_a_sent_copy_only_where_the_intake_says_so() -> None:
    outward = to(None)
    flagged = message(outward, direction=Direction.CONNECTOR, author=ANN, flags=MessageFlag.SENT_COPY)
    assert places(flagged) == {(ANN, "sent")}
    assert places(message(outward, direction=Direction.CONNECTOR, author=ANN)) == set()
    assert places(message(outward, direction=Direction.MX, author=ANN, flags=MessageFlag.SENT_COPY)) == set()


def test_a_repeat_gives_no_sent_copy_either() -> None:
    repeat = to(None, DeliveryState.ABSORBED)
    assert places(message(repeat, direction=Direction.CONNECTOR, author=ANN, flags=MessageFlag.SENT_COPY)) == set()


def test_a_notice_goes_into_the_inbox() -> None:
    assert places(message(to(ANN), direction=Direction.DSN)) == {(ANN, "inbox")}


def test_parts_of_one_message_look_the_same_and_others_do_not() -> None:
    one = b"Received: x\r\nMessage-ID: <1@x>\r\n\r\nbody"
    assert sent_hash(one) == sent_hash(b"Received: y\r\nX-More: z\r\nMessage-Id:  <1@x>\r\n\r\nbody")
    assert sent_hash(one) != sent_hash(b"Message-ID: <1@x>\r\n\r\nother body")
    assert sent_hash(one) != sent_hash(b"Message-ID: <2@x>\r\n\r\nbody")


def test_the_reverse_path_stands_first() -> None:
    assert raw_prefix("", b"Received: x\r\n") == b"Return-Path: <>\r\nReceived: x\r\n"
