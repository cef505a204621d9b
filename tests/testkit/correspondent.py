"""A sender that does what RFC 5321 §4.5.4.1 asks of one, and writes down every reply: the witness of crash tests.

In: a door's port and how many letters. Out: for each letter, whether it was answered 250, how often its reply was lost,
what else was said. A letter that was not answered, or with 4xx, is handed in again with the same bytes until it is.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from .smtp_talk import SmtpTalk

PER_CONNECTION = 5
LARGE_EVERY = 13
AGAIN_S = 0.05


@dataclass
class Letter:
    """One message with its own bytes."""

    number: int
    recipients: list[str]
    content: bytes
    answered: bool = False
    lost: int = 0
    """How often the text was sent whole and no reply came."""
    refused: list[str] = field(default_factory=list)
    """What was said instead of 250."""

    @property
    def mark(self) -> bytes:
        """The field that tells it from all others."""
        return mark_of(self.number)


def mark_of(number: int) -> bytes:
    return f"X-Letter: {number:06d}\r\n".encode()


class Correspondent:
    """Hands in letters over several sessions at once, from `start` to `finish`, whatever becomes of the door."""

    def __init__(
        self, port: int, recipients: list[str], *, sessions: int = 3, seed: int = 1, timeout_s: float = 20
    ) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._recipients = recipients
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._live, daemon=True) for _ in range(sessions)]
        self._left = 0
        self.letters: list[Letter] = []

    def start(self) -> None:
        """From now on letters are handed in while `write` allows more."""
        for thread in self._threads:
            thread.start()

    def write(self, count: int) -> None:
        """Lets so many further letters be written."""
        with self._lock:
            self._left += count
        self._open.set()

    def pause(self) -> None:
        """Begins no further letter; those begun are handed in again until they are answered."""
        with self._lock:
            self._left = 0

    def finish(self, patience_s: float = 60) -> None:
        """Writes no more, waits until every letter begun is answered, and ends the sessions."""
        self.pause()
        self._ending.set()
        self._open.set()
        for thread in self._threads:
            thread.join(patience_s)
        waiting = [letter.number for letter in self.letters if not letter.answered]
        assert not waiting, f"letters {waiting[:10]} were never answered 250: {self.letters[waiting[0]].refused[-3:]}"

    def busy(self) -> bool:
        """Whether a letter may still be written or waits for its reply."""
        with self._lock:
            return self._left > 0 or any(not letter.answered for letter in self.letters)

    @property
    def answered(self) -> int:
        return sum(letter.answered for letter in self.letters)

    # ── a session's thread ──

    def _live(self) -> None:
        talk: SmtpTalk | None = None
        used = 0
        while (letter := self._next()) is not None:
            while not letter.answered:
                try:
                    if talk is None or used >= PER_CONNECTION:
                        talk, used = self._connect(talk), 0
                    used += 1
                    self._hand_in(talk, letter)
                except (OSError, EOFError, AssertionError):
                    talk = None
                    time.sleep(AGAIN_S)
        self._leave(talk)

    def _next(self) -> Letter | None:
        while True:
            with self._lock:
                if self._left > 0:
                    self._left -= 1
                    letter = self._letter(len(self.letters))
                    self.letters.append(letter)
                    return letter
                if self._ending.is_set():
                    return None
                self._open.clear()
            self._open.wait(0.2)

    def _letter(self, number: int) -> Letter:
        count = self._chance.choice((1, 1, 1, 2))
        size = 300_000 if number % LARGE_EVERY == LARGE_EVERY - 1 else self._chance.randrange(20, 6000)
        head = b"From: x@example.org\r\nSubject: letter\r\n" + mark_of(number) + b"\r\n"
        return Letter(number, self._chance.sample(self._recipients, count), head + _text(self._chance, size))

    def _connect(self, old: SmtpTalk | None) -> SmtpTalk:
        self._leave(old)
        return SmtpTalk(self._port, timeout_s=self._timeout_s).hello()

    @staticmethod
    def _leave(talk: SmtpTalk | None) -> None:
        if talk is not None:
            try:
                talk.ask("QUIT")
            except (OSError, EOFError):
                pass
            talk.close()

    def _hand_in(self, talk: SmtpTalk, letter: Letter) -> None:
        commands = ["MAIL FROM:<x@example.org>", *(f"RCPT TO:<{one}>" for one in letter.recipients), "DATA"]
        for command in commands:
            answer = talk.ask(command)
            if answer[0] not in "23":
                self._refused(talk, letter, answer)
                return
        talk.send(letter.content.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        try:
            answer = talk.reply()
        except (OSError, EOFError):
            letter.lost += 1
            raise
        if answer.startswith("250"):
            letter.answered = True
        else:
            self._refused(talk, letter, answer)

    @staticmethod
    def _refused(talk: SmtpTalk, letter: Letter, answer: str) -> None:
        letter.refused.append(answer)
        if answer.startswith("421"):
            raise EOFError(answer)
        talk.ask("RSET")
        time.sleep(AGAIN_S)


def _text(chance: random.Random, size: int) -> bytes:
    """Lines with dots, blanks and octets of all kinds, without a bare CR or LF."""
    lines: list[bytes] = []
    while size > 0:
        line = chance.choice((b"", b".", b"..", b"From ", b" ")) + chance.randbytes(chance.randrange(0, 60)).translate(
            SAFE
        )
        lines.append(line + b"\r\n")
        size -= len(lines[-1])
    return b"".join(lines)


SAFE = bytes(octet if octet not in (0, 10, 13) else 32 for octet in range(256))
