"""Body files: what is written is read again, whatever is torn, damaged or erased is noticed (DESIGN §3.1, §6)."""

from __future__ import annotations

import errno
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from stormsail.store import BodyDamaged, BodyFiles, BodyRef, Record, Written, pack
from stormsail.store.records import HEADER
from stormsail.store.segment import PREPARED
from testkit.received import spooled_content
from testkit.waiting import wait_until

DAY = "2026-03-02"
ID, NOTE_CRC = range(16, 24), range(28, 32)
"""Where they are in a record's header."""


@pytest.fixture
def files(tmp_path: Path) -> BodyFiles:
    return BodyFiles(tmp_path / "bodies")


def record(number: int, size: int, seed: int = 0) -> Record:
    chance = random.Random(number * 1_000_003 + seed)
    return Record(number, b"note %d" % number, chance.randbytes(size))


def keep(files: BodyFiles, records: list[Record], day: str = DAY) -> list[Written]:
    packed = pack(records)
    return packed.at(files.keep(day, packed.data))


def segment_of(files: BodyFiles, place: Written) -> Path:
    return files.root / place.day / place.file


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 4096, 300_000])
def test_what_was_written_is_read_again(files: BodyFiles, size: int) -> None:
    records = [record(number, size) for number in range(3)]
    places = keep(files, records)
    assert [files.read(place.ref) for place in places] == [one.content for one in records]
    assert [b"".join(files.pieces(place.ref)) for place in places] == [one.content for one in records]
    notes = list(files.notes(DAY, places[0].file, 0))
    assert [(one.message_id, one.note, one.ref) for one in notes] == [
        (one.message_id, one.note, place.ref) for one, place in zip(records, places, strict=True)
    ]


def test_pieces_of_damaged_bytes_end_with_the_error_and_those_of_a_missing_file_begin_with_it(files: BodyFiles) -> None:
    [place] = keep(files, [record(1, 600_000)])
    with segment_of(files, place).open("r+b") as segment:
        segment.seek(place.offset + 500_000)
        segment.write(b"?")
    taken: list[bytes] = []
    with pytest.raises(BodyDamaged):
        taken.extend(files.pieces(place.ref))
    assert len(taken) > 1
    segment_of(files, place).unlink()
    with pytest.raises(BodyDamaged):
        next(files.pieces(place.ref))


def test_a_record_larger_than_everything_prepared_is_kept_whole(files: BodyFiles) -> None:
    first, large, last = record(1, 100), record(2, PREPARED + (5 << 20)), record(3, 100)
    places = [place for one in (first, large, last) for place in keep(files, [one])]
    assert [files.read(place.ref) for place in places] == [first.content, large.content, last.content]


def test_zeros_prepared_in_the_background_never_overwrite_a_record(files: BodyFiles) -> None:
    """Many segments' worth of records of all sizes, as fast as they can be written, read back at the end."""
    chance = random.Random(1)
    kept: list[tuple[BodyRef, Record]] = []
    written = 0
    number = 0
    while written < 5 * PREPARED:
        batch = [
            record(number + at, chance.choice((10, 2000, 40_000, 900_000))) for at in range(chance.randrange(1, 9))
        ]
        number += len(batch)
        written += sum(len(one.content) for one in batch)
        kept += [(place.ref, one) for place, one in zip(keep(files, batch), batch, strict=True)]
    files.close()
    assert len({ref.file for ref, _ in kept}) >= 4
    assert all(files.read(ref) == one.content for ref, one in kept)
    found = [
        note.message_id for file in dict.fromkeys(ref.file for ref, _ in kept) for note in files.notes(DAY, file, 0)
    ]
    assert found == list(range(number))


def test_a_new_day_begins_a_new_file_in_a_new_folder_and_so_does_a_new_life(files: BodyFiles) -> None:
    [first] = keep(files, [record(1, 100)])
    [second] = keep(files, [record(2, 100)], "2026-03-03")
    assert (second.day, second.offset) == ("2026-03-03", 0)
    again = BodyFiles(files.root)
    [third] = keep(again, [record(3, 100)], "2026-03-03")
    assert third.file != second.file
    assert again.days() == [DAY, "2026-03-03"]
    assert [again.read(place.ref) for place in (first, second, third)] == [record(n, 100).content for n in (1, 2, 3)]


def test_closing_cuts_off_what_was_prepared_and_not_used(files: BodyFiles) -> None:
    [place] = keep(files, [record(1, 1000)])
    path = segment_of(files, place)
    files.close()
    assert path.stat().st_size == place.end


def test_leftovers_of_an_earlier_life_are_swept_away(files: BodyFiles) -> None:
    half = files.spool()
    half.write(b"half")
    assert len(list((files.root / "incoming").iterdir())) >= 1
    before = {path.name for path in (files.root / "incoming").iterdir()}
    again = BodyFiles(files.root)
    assert not before & {path.name for path in (again.root / "incoming").iterdir()}


# ── torn and damaged ──


def test_wherever_a_segment_is_torn_the_records_before_are_found_and_the_torn_one_is_named(files: BodyFiles) -> None:
    records = [record(number, 40) for number in range(3)]
    places = keep(files, records)
    path = segment_of(files, places[0])
    files.close()
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        there = [place for place in places if place.end <= cut]
        assert [note.message_id for note in files.notes(DAY, path.name, 0)] == list(range(len(there)))
        for place, one in zip(places, records, strict=True):
            if place in there:
                assert files.read(place.ref) == one.content
            elif place.offset + HEADER.size + len(one.note) + len(one.content) > cut:
                with pytest.raises(BodyDamaged):
                    files.read(place.ref)


def test_wherever_an_octet_is_damaged_it_is_noticed(files: BodyFiles) -> None:
    """Only the id in a record's header stands unguarded: the note has it too."""
    one = record(7, 60)
    [place] = keep(files, [one])
    path = segment_of(files, place)
    files.close()
    whole = path.read_bytes()
    note_starts = HEADER.size
    content_starts = note_starts + len(one.note)
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        notes = [note.note for note in files.notes(DAY, path.name, 0)]
        assert notes == ([one.note] if ID.start <= at < ID.stop else []), at
        if ID.start <= at < ID.stop or NOTE_CRC.start <= at < content_starts:
            assert files.read(place.ref) == one.content
        else:
            with pytest.raises(BodyDamaged):
                files.read(place.ref)


def test_a_segment_of_zeros_holds_nothing(files: BodyFiles) -> None:
    (files.root / DAY).mkdir()
    (files.root / DAY / "s-0000").write_bytes(bytes(10_000))
    assert list(files.notes(DAY, "s-0000", 0)) == []


@pytest.mark.parametrize("file", ["s-missing", "m-missing"])
def test_a_missing_file_is_a_damaged_body_and_nothing_worse(files: BodyFiles, file: str) -> None:
    with pytest.raises(BodyDamaged):
        files.read(BodyRef(DAY, file, 0, 10))


def test_erasing_leaves_no_octet_of_the_message_and_its_neighbours_alone(files: BodyFiles) -> None:
    records = [record(number, 3000) for number in range(3)]
    places = keep(files, records)
    files.erase(places[1].ref)
    path = segment_of(files, places[0])
    files.close()
    assert records[1].content[:40] not in path.read_bytes()
    assert bytes(3000) in path.read_bytes()
    with pytest.raises(BodyDamaged):
        files.read(places[1].ref)
    assert [files.read(places[at].ref) for at in (0, 2)] == [records[0].content, records[2].content]


# ── a disk that fails ──


def fail_once(monkeypatch: pytest.MonkeyPatch, name: str, error: int, *, partly: bool = False) -> None:
    """The next call of this thread fails; a write may have written some octets before. Zeros are prepared by another."""
    real: Callable[..., int] = getattr(os, name)
    state = {"left": 1}

    def fails(*arguments: object) -> int:
        if state["left"] == 0 or threading.current_thread() is not threading.main_thread():
            return real(*arguments)
        state["left"] -= 1
        if partly:
            fd, data, *rest = arguments
            real(fd, bytes(data)[:70], *rest)  # type: ignore[call-overload]
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, name, fails)


@pytest.mark.parametrize("partly", [False, True])
def test_after_a_write_that_failed_nothing_of_it_is_found_and_the_next_goes_elsewhere(
    files: BodyFiles, monkeypatch: pytest.MonkeyPatch, partly: bool
) -> None:
    [before] = keep(files, [record(1, 30)])
    fail_once(monkeypatch, "pwrite", errno.ENOSPC, partly=partly)
    with pytest.raises(OSError, match="No space"):
        keep(files, [record(2, 10), record(3, 10)])
    [after] = keep(files, [record(4, 30)])
    assert after.file != before.file
    assert [note.message_id for note in files.notes(DAY, before.file, 0)] == [1]
    assert files.read(before.ref) == record(1, 30).content


def test_after_a_sync_that_failed_what_was_not_durable_is_not_found_and_never_believed(
    files: BodyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    [before] = keep(files, [record(1, 30)])
    fail_once(monkeypatch, "fdatasync", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        keep(files, [record(2, 30)])
    [after] = keep(files, [record(3, 30)])
    assert after.file != before.file
    assert [note.message_id for note in files.notes(DAY, before.file, 0)] == [1]


@pytest.mark.parametrize("name", ["open", "rename"])
def test_a_segment_that_cannot_be_begun_is_an_error_and_the_next_try_succeeds(
    files: BodyFiles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files.close()
    fail_once(monkeypatch, name, errno.EIO)
    try:
        keep(files, [record(1, 30)])
    except OSError:
        [place] = keep(files, [record(2, 30)])
        assert files.read(place.ref) == record(2, 30).content


class FolderSyncs:
    """Which folders have been made durable; a sync of `sick` fails, once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[Path] = []
        self.sick: Path | None = None
        self._real = os.fsync
        monkeypatch.setattr(os, "fsync", self._sync)

    def _sync(self, fd: int) -> None:
        folder = Path(os.readlink(f"/proc/self/fd/{fd}"))
        if folder == self.sick:
            self.sick = None
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._real(fd)
        self.done.append(folder)


@pytest.fixture
def syncs(files: BodyFiles, monkeypatch: pytest.MonkeyPatch) -> FolderSyncs:
    return FolderSyncs(monkeypatch)


def keep_small(files: BodyFiles) -> None:
    keep(files, [record(2, 30)])


def keep_large(files: BodyFiles) -> None:
    spooled = files.spool()
    spooled.write(b"x" * 1000)
    try:
        spooled.finish(DAY)
    except OSError:
        spooled.discard()
        raise


@pytest.mark.parametrize("second", [keep_small, keep_large])
@pytest.mark.parametrize("first", [keep_small, keep_large])
@pytest.mark.parametrize("sick", ["", DAY], ids=["root", "day"])
def test_a_folder_whose_sync_failed_is_made_durable_before_anything_in_it_is_believed(
    files: BodyFiles, syncs: FolderSyncs, sick: str, first: Callable[..., None], second: Callable[..., None]
) -> None:
    syncs.sick = files.root / sick
    with pytest.raises(OSError, match="Input/output"):
        first(files)
    syncs.done.clear()
    second(files)
    assert syncs.done == [files.root, files.root / DAY]


def test_within_a_day_a_segment_whose_name_could_not_be_made_durable_takes_nothing(
    files: BodyFiles, syncs: FolderSyncs
) -> None:
    [place] = keep(files, [record(1, PREPARED)])
    syncs.sick = files.root / DAY
    with pytest.raises(OSError, match="Input/output"):
        keep(files, [record(2, 30)])
    refused = {path.name for path in (files.root / DAY).iterdir()}
    syncs.done.clear()
    [after] = keep(files, [record(3, 30)])
    assert after.file not in {place.file, *refused}
    assert syncs.done[-1] == files.root / DAY


# ── large messages in files of their own ──


def in_folder(files: BodyFiles) -> set[str]:
    return {file for _, file in files.files() if file.startswith("m-")} | {
        path.name for path in (files.root / "incoming").iterdir() if path.name.startswith("m-")
    }


def test_a_large_message_has_a_file_of_its_own(files: BodyFiles) -> None:
    spooled = files.spool()
    pieces = [random.Random(number).randbytes(100_000) for number in range(7)]
    for piece in pieces:
        spooled.write(piece)
    assert spooled_content(files, spooled) == b"".join(pieces)
    ref = spooled.finish(DAY)
    spooled.hand_over()
    spooled.discard()
    assert files.read(ref) == b"".join(pieces)
    assert BodyFiles(files.root).read(ref) == b"".join(pieces)


@pytest.mark.parametrize("finished", [False, True])
def test_a_message_given_up_leaves_no_file(files: BodyFiles, finished: bool) -> None:
    spooled = files.spool()
    spooled.write(b"x" * 1000)
    if finished:
        spooled.finish(DAY)
    spooled.discard()
    spooled.discard()
    assert in_folder(files) == set()
    with pytest.raises(OSError, match="given up"):
        spooled.finish(DAY)


def test_a_message_given_up_while_it_is_being_made_durable_leaves_no_file(
    files: BodyFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled = files.spool()
    spooled.write(b"x" * 1000)
    syncing, go_on = threading.Event(), threading.Event()
    real = os.fdatasync

    def slow(fd: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            syncing.set()
            assert go_on.wait(10)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", slow)
    finishing = threading.Thread(target=spooled.finish, args=(DAY,))
    finishing.start()
    assert syncing.wait(10)
    spooled.discard()
    go_on.set()
    finishing.join(10)
    wait_until(lambda: in_folder(files) == set(), "the file to go")


@pytest.mark.parametrize("name", ["fdatasync", "fsync", "pwrite", "mkdir"])
def test_a_message_that_cannot_be_made_durable_can_be_thrown_away(
    files: BodyFiles, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spooled = files.spool()
    spooled.write(b"x" * 1000)
    fail_once(monkeypatch, name, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        spooled.finish(DAY)
    spooled.discard()
    assert in_folder(files) == set()


def test_retention_removes_a_day_with_all_that_is_in_it(files: BodyFiles) -> None:
    [old] = keep(files, [record(1, 100)])
    spooled = files.spool()
    spooled.write(b"large")
    spooled.finish(DAY)
    [new] = keep(files, [record(2, 100)], "2026-03-03")
    files.unlink_day(DAY)
    assert files.days() == ["2026-03-03"]
    with pytest.raises(BodyDamaged):
        files.read(old.ref)
    assert files.read(new.ref) == record(2, 100).content
    shutil.rmtree(files.root)
