"""Body files: the raw messages, append-only, in one folder a day (DESIGN §6).

A record is a header of 32 octets, what the ledger has to know of the message (its note), and the message as received.
Small messages share segment files, which only the journal's thread appends to; a large one is spooled into a file of
its own while it comes in, and its record in the segment has only the note. So the segments are the ledger's journal:
what was made durable here and did not reach the ledger before a crash is read from them at the next start. A segment
is never appended to again after an error or a restart, so a torn tail stays where it is and hurts nobody.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from stormsail.domain.errors import StormsailError

from .records import HEADER, MAGIC, BodyRef, Place, Written
from .segment import Preparation, Segment

OPEN_FILES = 64
INCOMING = "incoming"
WIPE_CHUNK = 1 << 20
PIECE = 1 << 18


class BodyDamaged(StormsailError):
    """The stored bytes are missing or not those that were written; the message is set aside, the rest goes on."""

    code = "body_damaged"
    http_status = 410


class Note(msgspec.Struct, frozen=True):
    """A note found in a segment."""

    message_id: int
    note: bytes
    written: Written

    @property
    def ref(self) -> BodyRef:
        return self.written.ref

    @property
    def end(self) -> int:
        return self.written.end


class SpooledBody:
    """A message that is being received into a file of its own.

    The file is this object's until `hand_over`; whoever gives the message up before that removes it, also while
    `finish` is at work in another thread.
    """

    def __init__(self, root: Path) -> None:
        self.token = "m-" + secrets.token_hex(12)
        self._path = root / INCOMING / self.token
        self._root = root
        self._lock = threading.Lock()
        self._at_work = self._given_up = self._handed_over = False
        self._fd = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._crc = 0
        self.length = 0
        os.write(self._fd, bytes(HEADER.size))

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Appends received bytes. Raises OSError, ENOSPC among them."""
        view = memoryview(chunk)
        while view:
            done = os.write(self._fd, view)
            self._crc = zlib.crc32(view[:done], self._crc)
            self.length += done
            view = view[done:]

    def finish(self, day: str) -> BodyRef:
        """Makes the file durable in its day's folder. Blocks on the disk: call it off the loop. Raises OSError."""
        with self._lock:
            if self._given_up:
                raise OSError(errno.ECANCELED, "The message was given up")
            self._at_work = True
        try:
            self._make_durable(day)
        finally:
            with self._lock:
                self._at_work = False
                if self._was_given_up():
                    self._remove()
        return BodyRef(day, self.token, 0, self.length)

    def _was_given_up(self) -> bool:
        return self._given_up

    def _make_durable(self, day: str) -> None:
        os.pwrite(self._fd, HEADER.pack(MAGIC, self._crc, self.length, 0, 0, 0), 0)
        os.fdatasync(self._fd)
        folder = _day_folder(self._root, day)
        self._path = self._path.rename(folder / self.token)
        _sync_folder(folder)
        self._close()

    def hand_over(self) -> None:
        """The finished file belongs to the ledger now: `discard` does nothing any more."""
        self._handed_over = True

    def discard(self) -> None:
        """Throws the file away, finished or not."""
        with self._lock:
            self._given_up = True
            if not self._at_work and not self._handed_over:
                self._remove()

    def _remove(self) -> None:
        """On a sick disk it stays: what is in `incoming` goes at the next start, no other file is found by anybody."""
        with suppress(OSError):
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)


class BodyFiles:
    """The folder of body files. `keep` belongs to the journal; reading may happen anywhere."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        (root / INCOMING).mkdir(mode=0o700, exist_ok=True)
        _sync_folder(root.parent)
        for leftover in (root / INCOMING).iterdir():
            leftover.unlink(missing_ok=True)
        self._segment: Segment | None = None
        self._day = ""
        self._preparation = Preparation(root / INCOMING)

    def spool(self) -> SpooledBody:
        """A new file for a message that is too large for memory. Raises OSError."""
        return SpooledBody(self.root)

    def keep(self, day: str, data: bytes) -> Place:
        """Makes packed records durable; says where the first begins. Raises OSError, and then nothing of it is there.

        After an error the segment is given up: a failed sync is never repeated and believed.
        """
        segment = self._segment
        if segment is None or self._day != day or segment.full:
            segment = self.rotate(day)
        place = Place(day, segment.name, segment.end)
        try:
            segment.write(data)
            segment.sync()
        except OSError:
            segment.forget_unsynced()
            self._end_segment()
            raise
        return place

    def rotate(self, day: str) -> Segment:
        """Starts a new segment file; only one whose name is durable may be written to. Raises OSError."""
        self._end_segment()
        folder = _day_folder(self.root, day)
        segment = self._preparation.take(folder)
        try:
            _sync_folder(folder)
        except OSError:
            segment.close()
            raise
        self._segment, self._day = segment, day
        return segment

    def close(self) -> None:
        """Ends the segment and what was prepared for the next."""
        self._end_segment()
        self._preparation.close()

    def _end_segment(self) -> None:
        """The next record begins a new one."""
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def read(self, ref: BodyRef) -> bytes:
        """The message's bytes. Raises BodyDamaged where they are not those that were written."""
        fd = self._open(ref)
        try:
            head = os.pread(fd, HEADER.size, ref.offset)
            content = os.pread(fd, ref.length, ref.offset + HEADER.size + _note_length(head))
        except OSError as error:
            raise BodyDamaged(f"The message's file {ref.day}/{ref.file} cannot be read: {error.strerror}") from error
        finally:
            os.close(fd)
        _check(head, content, ref)
        return content

    def pieces(self, ref: BodyRef) -> Iterator[bytes]:
        """The same in pieces, for a message that is too large to be in memory with many others.

        Raises BodyDamaged before the first piece, or instead of the end: who sends them on must not end the text then.
        """
        where = f"{ref.day}/{ref.file} at {ref.offset}"
        fd = self._open(ref)
        try:
            head = os.pread(fd, HEADER.size, ref.offset)
            if len(head) < HEADER.size or not head.startswith(MAGIC):
                raise BodyDamaged(f"There is no message ({where})")
            _, expected, length, _, note_length, _ = HEADER.unpack(head)
            start, done, crc = ref.offset + HEADER.size + note_length, 0, 0
            while done < ref.length and (piece := os.pread(fd, min(PIECE, ref.length - done), start + done)):
                done += len(piece)
                crc = zlib.crc32(piece, crc)
                yield piece
            if done < ref.length or length != ref.length or crc != expected:
                raise BodyDamaged(f"The message's bytes are not those that were written ({where})")
        except OSError as error:
            raise BodyDamaged(f"The message's file cannot be read: {error.strerror} ({where})") from error
        finally:
            os.close(fd)

    def _open(self, ref: BodyRef) -> int:
        try:
            return os.open(self.root / ref.day / ref.file, os.O_RDONLY)
        except OSError as error:
            raise BodyDamaged(f"The message's file {ref.day}/{ref.file} cannot be opened: {error.strerror}") from error

    def erase(self, ref: BodyRef) -> None:
        """Overwrites a message's bytes with zeros: a person's deletion."""
        fd = os.open(self.root / ref.day / ref.file, os.O_RDWR)
        try:
            start = ref.offset + HEADER.size + _note_length(os.pread(fd, HEADER.size, ref.offset))
            position, end = start, start + ref.length
            while position < end:
                position += os.pwrite(fd, bytes(min(WIPE_CHUNK, end - position)), position)
            os.fdatasync(fd)
        finally:
            os.close(fd)

    def notes(self, day: str, file: str, start: int) -> Iterator[Note]:
        """The notes of a segment from `start` on, up to its end or the first record that is not whole."""
        fd = os.open(self.root / day / file, os.O_RDONLY)
        try:
            position = start
            while (found := _note_at(fd, day, file, position)) is not None:
                yield found
                position = found.end
        finally:
            os.close(fd)

    def size(self, day: str, file: str) -> int:
        """Octets of a file; 0 where it cannot be looked at."""
        try:
            return (self.root / day / file).stat().st_size
        except OSError:
            return 0

    def end_after(self, day: str, file: str, end: int) -> None:
        """Gives back the zeros that an earlier life prepared behind the last record; anything else stays."""
        fd = os.open(self.root / day / file, os.O_RDWR)
        try:
            size = os.fstat(fd).st_size
            if size > end and not any(os.pread(fd, size - end, end)):
                os.ftruncate(fd, end)
        finally:
            os.close(fd)

    def days(self) -> list[str]:
        """The days that have a folder, oldest first."""
        return sorted(entry.name for entry in self.root.iterdir() if entry.is_dir() and entry.name != INCOMING)

    def files(self) -> Iterator[tuple[str, str]]:
        """Every (day, file) there is."""
        for day in self.days():
            for entry in sorted((self.root / day).iterdir()):
                yield day, entry.name

    def set_aside(self, day: str, file: str, folder: Path) -> None:
        """Takes a file that no message of the ledger is in out of the way, for a person to look at."""
        folder.mkdir(mode=0o700, exist_ok=True)
        (self.root / day / file).rename(folder / f"{day}-{file}")

    def unlink_file(self, day: str, file: str) -> None:
        (self.root / day / file).unlink(missing_ok=True)

    def unlink_day(self, day: str) -> None:
        """Removes a day's bodies for good."""
        folder = self.root / day
        for entry in folder.iterdir():
            entry.unlink(missing_ok=True)
        folder.rmdir()
        _sync_folder(self.root)


def _note_length(head: bytes) -> int:
    return int(HEADER.unpack(head)[4]) if len(head) == HEADER.size and head.startswith(MAGIC) else 0


def _note_at(fd: int, day: str, file: str, position: int) -> Note | None:
    head = os.pread(fd, HEADER.size, position)
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        return None
    _, crc, length, message_id, note_length, note_crc = HEADER.unpack(head)
    if position + HEADER.size + note_length + length > os.fstat(fd).st_size:
        return None
    note = os.pread(fd, note_length, position + HEADER.size)
    content = os.pread(fd, length, position + HEADER.size + note_length)
    if len(content) < length or zlib.crc32(note) != note_crc or zlib.crc32(content) != crc:
        return None
    end = position + HEADER.size + note_length + length
    return Note(message_id, note, Written(day, file, position, length, end))


def _check(head: bytes, content: bytes, ref: BodyRef) -> None:
    """Raises BodyDamaged where the record is not the one that was written."""
    where = f"{ref.day}/{ref.file} at {ref.offset}"
    if len(head) < HEADER.size or len(content) < ref.length:
        raise BodyDamaged(f"The message's bytes end too early ({where})")
    magic, crc, length, *_ = HEADER.unpack(head)
    if magic != MAGIC or length != ref.length or zlib.crc32(content) != crc:
        raise BodyDamaged(f"The message's bytes are not those that were written ({where})")


def _day_folder(root: Path, day: str) -> Path:
    """The day's folder, its name durable, also where somebody else has made it and could not sync it. Raises OSError.

    A failed sync is never repeated and believed: the folder goes, so that the next try has a new name to make durable.
    """
    folder = root / day
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        _sync_folder(root)
    except OSError:
        with suppress(OSError):
            folder.rmdir()
        raise
    return folder


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
