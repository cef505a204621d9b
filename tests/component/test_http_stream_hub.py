"""The live stream's memory: who sees what, what a reader that comes back is given, and what becomes of a slow one."""

from __future__ import annotations

import asyncio

import pytest

from stormsail.domain.errors import Overloaded
from stormsail.domain.ids import id_from_text
from stormsail.domain.roles import Role
from stormsail.http import EVERYBODY, Audience, Reader, StreamHub
from stormsail.http.stream_hub import KEPT_ITEMS, READERS_PER_PERSON, WAITING_LIMIT
from stormsail.wire import MailboxChange
from testkit.clock import SetClock

ANNS = Audience(mailbox="ann@example.com")


def reader(person: str = "ann", role: Role = Role.STAFF, *mailboxes: str, account_id: int = 1) -> Reader:
    return Reader(person, role, lambda mailbox: mailbox in mailboxes, account_id, None)


def change(message: str) -> MailboxChange:
    return MailboxChange(mailbox="ann@example.com", message=message, change="new", folder="inbox")


def test_ids_grow_even_over_a_restart() -> None:
    clock = SetClock()
    first = StreamHub(clock)
    first.publish("coverage")
    clock.advance(1)
    second = StreamHub(clock)
    second.publish("coverage")
    (before,), _, _ = first.recent(reader(), None)
    (after,), _, _ = second.recent(reader(), None)
    assert after.id > before.id


def test_a_mailbox_change_is_seen_by_those_who_may_read_it_and_nobody_else() -> None:
    hub = StreamHub(SetClock())
    hub.publish("mailbox", change("1"), ANNS)
    hub.publish("status", None, Audience(Role.VIEWER))
    hub.publish("coverage", None, EVERYBODY)
    seen = {
        name: [item.kind for item in hub.recent(who, None)[0]]
        for name, who in (
            ("ann", reader("ann", Role.STAFF, "ann@example.com")),
            ("bo", reader("bo", Role.STAFF, "bo@example.com")),
            ("viewer", reader("vi", Role.VIEWER)),
            ("owner", reader("ow", Role.OWNER)),
        )
    }
    assert seen == {
        "ann": ["mailbox", "coverage"],
        "bo": ["coverage"],
        "viewer": ["status", "coverage"],
        "owner": ["status", "coverage"],
    }


def test_a_reader_that_comes_back_gets_what_it_missed() -> None:
    async def story() -> None:
        hub = StreamHub(SetClock())
        for _ in range(3):
            hub.publish("coverage")
        seen, _, _ = hub.recent(reader(), None)
        subscription = hub.subscribe(reader(), id_from_text(seen[0].id))
        hub.publish("coverage")
        assert [item.id for item in await subscription.take(0)] == [
            item.id for item in hub.recent(reader(), id_from_text(seen[0].id))[0]
        ]

    asyncio.run(story())


def test_a_reader_of_before_the_restart_is_told_to_read_everything_anew() -> None:
    async def story() -> None:
        clock = SetClock()
        old = StreamHub(clock)
        old.publish("coverage")
        _, last, _ = old.recent(reader(), None)
        clock.advance(1)
        hub = StreamHub(clock)
        hub.publish("coverage")
        subscription = hub.subscribe(reader(), id_from_text(last))
        (only,) = await subscription.take(0)
        assert only.kind == "reset"
        _, _, complete = hub.recent(reader(), id_from_text(last))
        assert not complete

    asyncio.run(story())


def test_pages_of_what_was_recent_lead_to_each_other_and_are_complete() -> None:
    hub = StreamHub(SetClock())
    for number in range(25):
        hub.publish("mailbox", change(str(number)), ANNS)
        hub.publish("status", None, Audience(Role.VIEWER))
    ann = reader("ann", Role.STAFF, "ann@example.com")
    got: list[str] = []
    after = None
    while True:
        items, last, complete = hub.recent(ann, after, 7)
        if not items:
            break
        assert complete
        got += [item.data.message for item in items]
        after = id_from_text(last)
    assert got == [str(number) for number in range(25)]


def test_memory_is_bounded_and_says_when_items_are_gone() -> None:
    hub = StreamHub(SetClock())
    hub.publish("coverage")
    _, first, _ = hub.recent(reader(), None)
    for _ in range(KEPT_ITEMS + 5):
        hub.publish("coverage")
    items, _, complete = hub.recent(reader(), id_from_text(first), KEPT_ITEMS + 100)
    assert len(items) == KEPT_ITEMS
    assert not complete


def test_a_reader_that_does_not_keep_up_is_let_go() -> None:
    async def story() -> None:
        hub = StreamHub(SetClock())
        slow = hub.subscribe(reader("slow"), None)
        quick = hub.subscribe(reader("quick"), None)
        for _ in range(WAITING_LIMIT + 1):
            hub.publish("coverage")
            await quick.take(0)
        assert slow.ended == "slow"
        assert quick.ended == ""

    asyncio.run(story())


def test_one_person_cannot_open_streams_without_end() -> None:
    hub = StreamHub(SetClock())
    for _ in range(READERS_PER_PERSON):
        hub.subscribe(reader("ann"), None)
    with pytest.raises(Overloaded):
        hub.subscribe(reader("ann"), None)
    hub.subscribe(reader("bo"), None)


def test_closing_says_bye_as_the_last_item() -> None:
    async def story() -> None:
        hub = StreamHub(SetClock())
        subscription = hub.subscribe(reader(), None)
        hub.publish("coverage")
        hub.close()
        hub.publish("coverage")
        assert [item.kind for item in await subscription.take(0)] == ["coverage", "bye"]
        assert subscription.ended == "bye"

    asyncio.run(story())


def test_the_streams_of_one_account_can_be_ended() -> None:
    hub = StreamHub(SetClock())
    hers = hub.subscribe(reader("ann", account_id=1), None)
    his = hub.subscribe(reader("bo", account_id=2), None)
    hub.end_for(account_id=1)
    assert hers.ended
    assert not his.ended
