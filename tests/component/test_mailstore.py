"""The copies, made from a real ledger and real bodies by real digest children: filing, reading, searching, changing."""

from __future__ import annotations

import asyncio
import time
from email.message import EmailMessage
from pathlib import Path

import pytest
from msgspec.structs import replace

from stormsail.directory.snapshot import make_snapshot
from stormsail.domain.errors import BadRequest, NotFound
from stormsail.domain.routing import Direction
from stormsail.domain.states import DeliveryState
from stormsail.ledger import MessageFlag
from stormsail.mailstore import ChangeKind, CopyState, FolderCount
from stormsail.mailstore.asking import box_token
from stormsail.store import BodyDamaged
from testkit.mailbox_copies import ANN, BEN, CAY, EVERYBODY, SALES, corpus, gateway, simple
from testkit.waiting import eventually

ANNA = "anna@example.com"
STRANGER = "stranger@elsewhere.example"


def test_every_recipient_has_a_copy_within_a_second(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            started = time.monotonic()
            number = await gate.accept(simple("to all", "hello"), [ANNA, EVERYBODY, SALES, CAY, STRANGER])
            await eventually(lambda: len(gate.changes) >= 4, "four copies")
            assert time.monotonic() - started < 1
            for mailbox in (ANN, BEN, CAY, SALES):
                (copy,) = await gate.copies(mailbox, "inbox")
                assert (copy.message_id, copy.uid, copy.flags) == (number, 1, frozenset())
                assert copy.size == len(await gate.mailstore.raw(copy.id))
            assert {change.mailbox for change in gate.changes} == {ANN, BEN, CAY, SALES}

    asyncio.run(story())


def test_a_copy_is_listed_and_downloadable_before_it_is_readable(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            gate.mailstore.children.stop()
            content = simple("later", "text")
            await gate.accept(content, [ANN])
            await eventually(lambda: len(gate.changes), "the copy")
            (copy,) = await gate.copies(ANN)
            assert (copy.state, copy.subject) == (CopyState.PREPARING, "")
            assert (await gate.mailstore.view(copy.id)).text == ""
            assert (await gate.mailstore.raw(copy.id)).endswith(content)
            assert (await gate.mailstore.lag()).undigested == 1

    asyncio.run(story())


def test_a_view_has_text_fields_and_what_is_attached(tmp_path: Path) -> None:
    async def story() -> None:
        message = EmailMessage()
        message["From"] = "Olga <olga@elsewhere.example>"
        message["To"], message["Cc"], message["Subject"] = ANN, BEN, "with file"
        message.set_content("the text")
        message.add_alternative("<p>the <script>x</script>text</p>", subtype="html")
        message.add_attachment(b"\x00\x01" * 5000, maintype="application", subtype="pdf", filename="Plan für März.pdf")
        async with gateway(tmp_path) as gate:
            await gate.accept(message.as_bytes(), [ANN])
            copy = await gate.only_copy(ANN)
            view = await gate.mailstore.view(copy.id)
            assert (view.text.strip(), view.html.strip()) == ("the text", "<p>the text</p>")
            assert [person.address for person in (*copy.to, *view.cc)] == [ANN, BEN]
            assert ("Subject", "with file") in view.headers
            (listed,) = view.attachments
            taken = await gate.mailstore.attachment(copy.id, listed.number)
            assert (taken.file_name, taken.content_type) == ("Plan für März.pdf", "application/pdf")
            assert taken.content == b"\x00\x01" * 5000
            with pytest.raises(NotFound):
                await gate.mailstore.attachment(copy.id, "9")
            assert copy.attachments == 1

    asyncio.run(story())


def test_text_is_found_in_every_language(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            for subject, text in (
                ("English", "The quarterly figures are attached"),
                ("German", "Grüße aus der Hauptstraße"),
                ("Japanese", "明日の会議は十時です"),
                ("Chinese", "明天上午十点开会"),
                ("Korean", "내일 회의는 열 시입니다"),
                ("Russian", "Встреча завтра в десять"),
            ):
                await gate.accept(simple(subject, text), [ANN])
            await gate.settled()
            for query, subject in (
                ("quarterly figures", "English"),
                ("figur", "English"),
                ("grusse", "German"),
                ("hauptstrasse", "German"),
                ("会議", "Japanese"),
                ("十時", "Japanese"),
                ("开会", "Chinese"),
                ("회의", "Korean"),
                ("ВСТРЕЧА", "Russian"),
                ("subject:english", "English"),
            ):
                assert await gate.found(ANN, query) == [subject], query
            assert await gate.found(BEN, "quarterly") == []
            with pytest.raises(BadRequest):
                await gate.found(ANN, "???")

    asyncio.run(story())


def test_pages_follow_each_other_without_gap_or_repeat(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            for number in range(25):
                await gate.accept(simple(f"number {number}", "the same word"), [ANN])
            await gate.settled()
            wanted = [f"number {number}" for number in reversed(range(25))]
            for query in (None, "word"):
                seen: list[str] = []
                before = None
                while True:
                    page = await gate.mailstore.page(ANN, "inbox", query, before, 7)
                    seen += [copy.subject for copy in page.copies]
                    before = page.next
                    if before is None:
                        break
                assert seen == wanted
            for query in (None, "word"):
                with pytest.raises(BadRequest):
                    await gate.mailstore.page(ANN, "inbox", query, "no mark", 7)

    asyncio.run(story())


def test_a_blind_recipient_has_a_copy_and_nobody_learns_of_it(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("plans", "see you"), [ANN, CAY, STRANGER], direction=Direction.COMPOSE, author=BEN)
            await gate.settled()
            (theirs,) = await gate.copies(ANN)
            (blind,) = await gate.copies(CAY)
            (own,) = await gate.copies(BEN, "sent")
            assert blind.subject == "plans"
            assert own.recipients == (ANN, CAY, STRANGER)
            assert own.flags == {"seen"}
            assert theirs.recipients == blind.recipients == ()
            assert CAY.encode() not in await gate.mailstore.raw(theirs.id)
            assert CAY not in repr(await gate.mailstore.view(theirs.id))
            for query in ("cay", CAY, box_token(CAY), f"boxes:{box_token(CAY)}"):
                assert await gate.found(ANN, query) == []

    asyncio.run(story())


def test_a_message_that_the_primary_split_is_one_sent_copy_with_all_recipients(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            content = simple("split", "same body", author=f"Ann <{ANN}>")
            again = b"X-Hop: 2\r\n" + content
            more = simple("split", "another body", author=f"Ann <{ANN}>")
            for part, recipient in ((content, "a@x.example"), (again, "b@x.example"), (content, "a@x.example")):
                await gate.accept(
                    part, [recipient], direction=Direction.CONNECTOR, author=ANN, flags=MessageFlag.SENT_COPY
                )
            await gate.settled()
            (sent,) = await gate.copies(ANN, "sent")
            assert sent.recipients == ("a@x.example", "b@x.example")
            assert [change.kind for change in gate.changes].count(ChangeKind.RECIPIENTS) == 1
            await gate.accept(
                more, ["c@x.example"], direction=Direction.CONNECTOR, author=ANN, flags=MessageFlag.SENT_COPY
            )
            await gate.accept(more, ["d@x.example"], direction=Direction.COMPOSE, author=ANN)
            await gate.settled()
            assert len(await gate.copies(ANN, "sent")) == 3
            assert await gate.mailstore.check() == []

    asyncio.run(story())


def test_flags_and_folders_change_and_are_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("one", "text"), [ANN])
            copy = await gate.only_copy(ANN)
            assert await gate.mailstore.counts(ANN) == {"inbox": FolderCount(1, 1)}
            gate.changes.clear()
            changed = await gate.mailstore.patch(copy.id, {"seen", "flagged", "$Project"}, None)
            assert changed.flags == {"seen", "flagged", "$Project"}
            assert changed.modseq > copy.modseq
            moved = await gate.mailstore.patch(copy.id, None, "archive")
            assert (moved.id, moved.folder, moved.flags) == (copy.id, "archive", changed.flags)
            assert await gate.mailstore.counts(ANN) == {"inbox": FolderCount(), "archive": FolderCount(1, 0)}
            assert [change.kind for change in gate.changes] == [ChangeKind.FLAGS, ChangeKind.MOVED]
            assert await gate.found(ANN, "text") == ["one"]
            with pytest.raises(BadRequest):
                await gate.mailstore.patch(copy.id, None, "cellar")
            with pytest.raises(BadRequest):
                await gate.mailstore.patch(copy.id, {"no blanks please"}, None)
            with pytest.raises(NotFound):
                await gate.mailstore.patch(copy.id + 1, {"seen"}, None)

    asyncio.run(story())


def test_a_message_that_the_primary_refused_moves_to_junk_even_when_told_before_it_is_filed(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            mailstore = gate.mailstore
            number = await gate.accept(simple("offer", "buy"), [ANN, EVERYBODY])
            await mailstore.file_refused(number, EVERYBODY, "junk")
            assert [copy.folder for copy in await gate.copies(ANN)] == ["inbox"]
            assert [copy.folder for copy in await gate.copies(BEN)] == ["junk"]
            await mailstore.file_refused(number, ANN, "junk")
            await gate.settled()
            assert await mailstore.check() == []

    asyncio.run(story())


def test_repeats_have_no_copy_and_are_found_by_trace_all_the_same(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            number = await gate.accept(simple("twice", "text"), [gate.delivery(ANN, DeliveryState.ABSORBED)])
            await gate.settled()
            assert await gate.copies(ANN) == []
            assert await gate.mailstore.search_messages("subject:twice", 10) == [number]
            summary = await gate.mailstore.subject_of(number)
            assert summary is not None
            assert (summary.subject, summary.author.name) == ("twice", "Olga")
            assert await gate.mailstore.search_messages(summary.message_id, 10) == [number]
            assert await gate.mailstore.subject_of(1) is None

    asyncio.run(story())


def test_a_damaged_body_is_listed_with_its_reason(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            gate.mailstore.children.stop()
            await gate.accept(simple("broken", "some text"), [ANN])
            await eventually(lambda: len(gate.changes), "the copy")
            (segment,) = gate.data_dir.glob("bodies/*/s-*")
            octets = bytearray(segment.read_bytes())
            octets[octets.index(b"some text")] ^= 1
            segment.write_bytes(octets)
            await gate.mailstore.stop()
            await gate.start_mailstore()
            copy = await gate.only_copy(ANN)
            assert copy.state is CopyState.DAMAGED
            assert "not those that were written" in copy.problem
            with pytest.raises(BodyDamaged):
                await gate.mailstore.raw(copy.id)
            with pytest.raises(BodyDamaged):
                await gate.mailstore.attachment(copy.id, "1")

    asyncio.run(story())


def test_a_mailbox_somebody_has_open_goes_first(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            gate.mailstore.children.stop()
            for number in range(150):
                await gate.accept(simple(f"other {number}", "text"), [BEN])
            await gate.accept(simple("mine", "text"), [ANN])
            await eventually(lambda: len(gate.changes) == 151, "all rows")
            await gate.mailstore.stop()
            gate.changes.clear()
            await gate.start_mailstore()
            gate.mailstore.want_first(ANN)
            await gate.settled()
            order = [change.mailbox for change in gate.changes if change.kind is ChangeKind.DIGESTED]
            assert len(order) == 151
            assert order.index(ANN) < 140

    asyncio.run(story())


def test_a_group_loses_and_gains_members_from_the_next_message_on(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("before", "text"), [EVERYBODY])
            await gate.settled()
            entries = gate.directory.entries
            gate.directory = replace(
                gate.directory, entries=entries | {EVERYBODY: replace(entries[EVERYBODY], members=(ANN, CAY))}
            )
            await gate.accept(simple("after", "text"), [EVERYBODY])
            await gate.settled()
            assert [copy.subject for copy in await gate.copies(BEN)] == ["before"]
            assert [copy.subject for copy in await gate.copies(CAY)] == ["after"]
            assert await gate.mailstore.check() == []

    asyncio.run(story())


def test_somebody_who_takes_another_address_keeps_the_mailbox(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            await gate.accept(simple("before", "words"), [BEN])
            await gate.settled()
            (old,) = await gate.copies(BEN)
            married = "ben.jones@example.com"
            entry = replace(gate.directory.entries[BEN], address=married, aliases=(BEN,))
            others = [one for key, one in gate.directory.entries.items() if key != BEN]
            gate.directory = make_snapshot([*others, entry], list(gate.directory.domains.values()), 2, "+")
            await gate.accept(simple("after", "words"), [BEN])
            await gate.settled()
            assert [copy.subject for copy in await gate.copies(married)] == ["after", "before"]
            assert await gate.found(married, "words") == ["after", "before"]
            assert await gate.copies(BEN) == []
            assert (await gate.mailstore.copy(old.id)).mailbox == married
            assert await gate.mailstore.check() == []

    asyncio.run(story())


MESSAGES = corpus()


@pytest.mark.skipif(not MESSAGES, reason="the corpus of difficult messages is not here; STORMSAIL_CORPUS may name it")
def test_difficult_messages_lie_in_the_mailbox_byte_for_byte(tmp_path: Path) -> None:
    async def story() -> None:
        async with gateway(tmp_path) as gate:
            contents: dict[int, bytes] = {}
            for path in MESSAGES:
                content = path.read_bytes()
                contents[await gate.accept(content, [ANN])] = content
            await gate.settled()
            copies = await gate.copies(ANN)
            assert len(copies) == len(MESSAGES)
            for copy in copies:
                assert copy.state is CopyState.READY, copy.problem
                raw = await gate.mailstore.raw(copy.id)
                assert raw.startswith(b"Return-Path: <olga@elsewhere.example>\r\nReceived:")
                assert raw.endswith(contents[copy.message_id])
                await gate.mailstore.view(copy.id)

    asyncio.run(story())
