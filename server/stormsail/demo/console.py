"""What the demo says: plain lines with the time, one after another; colour only on a terminal.

In: sentences, foreign text among them. Out: lines on stdout, everything unprintable replaced (DESIGN §3.12).
"""

from __future__ import annotations

import sys
import time
from enum import Enum


class Tone(Enum):
    """The kind of a line, as its colour on a terminal."""

    MAIL = "0"
    NEWS = "1;36"
    TROUBLE = "33"
    HINT = "32"
    COUNT = "2"


class Console:
    """Prints. `plain` never uses colour."""

    def __init__(self, plain: bool) -> None:
        self._colour = not plain and sys.stdout.isatty()

    def say(self, text: str, tone: Tone = Tone.MAIL) -> None:
        """One line with the time in front."""
        self._print(f"{time.strftime('%H:%M:%S')}  {printable(text)}", tone)

    def show(self, text: str, tone: Tone = Tone.MAIL) -> None:
        """Lines of our own without the time: the overview at the start."""
        for line in text.splitlines():
            self._print(line, tone)

    def _print(self, line: str, tone: Tone) -> None:
        encoding = sys.stdout.encoding or "ascii"
        line = line.encode(encoding, "replace").decode(encoding)
        print(f"\033[{tone.value}m{line}\033[0m" if self._colour else line, flush=True)


def printable(text: str) -> str:
    """The text on one line, without anything that moves a cursor or turns the writing round."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
