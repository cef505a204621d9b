"""Fuzzes the SMTP dialogue: whatever a peer says in whatever pieces, the door keeps to the rules of `dialogue_model`.

    python tests/fuzz/smtp_dialogue.py --seconds 60 [--seed N] [--blind]

Each dialogue runs twice on a `MemoryDoor`, in whole turns and cut into pieces, and must come to the same. Guided by
coverage where atheris is installed (`pip install atheris`, wheels for Python 3.11 to 3.13; nothing else needs it): then
it ends at the first rule that is broken and names the file with the input. Else, or with `--blind`, by mutation of
`dialogue_seeds` alone: then each such input is printed as a literal that `run_one` takes, and the exit code is 1.

An input is one octet, which decides about the cuts, and the turns of the peer, separated by RS (0x1e).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz.coverage import guide
from fuzz.dialogue_model import Broken, check, replies_of
from fuzz.dialogue_seeds import SEEDS, WORDS
from testkit.memory_door import Heard, MemoryDoor

TURN = b"\x1e"
LONGEST = 400_000
DID_NOT_WAIT = b"You did not wait for the reply to DATA"
"""Text behind DATA in one turn: the door can only see it if it came in one piece with the command."""
REASON = re.compile(rb"(?:552 5\.3\.4|554 5\.6\.0) [^\r]*")
"""A text that is wrong in several ways is refused for good for the first one that is seen."""


class Target:
    """Runs inputs on one loop."""

    def __init__(self, folder: Path) -> None:
        self._runner = asyncio.Runner()
        (folder / "incoming").mkdir(parents=True, exist_ok=True)
        self._door = MemoryDoor(folder)
        self.runs = 0

    def run_one(self, data: bytes) -> Heard:
        """Raises Broken, or whatever else escapes."""
        self.runs += 1
        turns = [turn for turn in data[1:].split(TURN) if turn]
        chance = random.Random(data[:1])
        whole = self._talk([[turn] for turn in turns], lambda: False)
        check(turns, whole)
        waits = chance.random() < 0.5
        cut = self._talk([_cut(turn, chance) for turn in turns], lambda: waits and chance.random() < 0.3)
        check(turns, cut)
        if DID_NOT_WAIT not in whole.answers:
            _same(whole, cut)
        return whole

    def _talk(self, turns: list[list[bytes]], wait: Callable[[], bool]) -> Heard:
        return self._runner.run(self._door.talk(turns, wait))

    def close(self) -> None:
        self._runner.close()


def _same(whole: Heard, cut: Heard) -> None:
    first, second = (REASON.sub(b"55x", one.answers) for one in (whole, cut))
    if (first, whole.taken, whole.ended) != (second, cut.taken, cut.ended):
        raise Broken(f"in pieces {replies_of(cut.answers)} {cut.taken}, as a whole {replies_of(whole.answers)}")


def _cut(turn: bytes, chance: random.Random) -> list[bytes]:
    """The turn in one to many pieces; a short one perhaps octet by octet."""
    if len(turn) < 300 and chance.random() < 0.2:
        return [turn[at : at + 1] for at in range(len(turn))]
    places = sorted(chance.randrange(len(turn) + 1) for _ in range(chance.randrange(6)))
    pieces = [turn[start:end] for start, end in zip([0, *places], [*places, len(turn)], strict=True)]
    return [piece for piece in pieces if piece]


# ── mutation without coverage ──


def mutated(chance: random.Random) -> bytes:
    """A new input out of the seeds."""
    data = bytearray(chance.choice(SEEDS))
    for _ in range(1 + chance.randrange(8)):
        chance.choice(MUTATIONS)(data, chance)
    return bytes([chance.randrange(256)]) + bytes(data[:LONGEST])


def _insert_word(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.choice(WORDS)


def _replace_line(data: bytearray, chance: random.Random) -> None:
    lines = data.split(b"\n")
    lines[chance.randrange(len(lines))] = bytearray(chance.choice(WORDS))
    data[:] = b"\n".join(lines)


def _delete(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) + 1)
    del data[at : at + chance.choice((1, 1, 2, 5, 20))]


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _repeat(data: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(data) + 1)
    piece = bytes(data[start : start + chance.choice((1, 4, 30, 200))])
    data[start:start] = piece * chance.choice((1, 2, 10, 100, 1000))


def _splice(data: bytearray, chance: random.Random) -> None:
    other = chance.choice(SEEDS)
    data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other) + 1) :]


def _join_turns(data: bytearray, chance: random.Random) -> None:
    at = data.find(TURN, chance.randrange(len(data) + 1))
    if at >= 0:
        del data[at]


def _change_line_end(data: bytearray, chance: random.Random) -> None:
    at = data.find(b"\r\n", chance.randrange(len(data) + 1))
    if at >= 0:
        data[at : at + 2] = chance.choice(
            (b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r\n", b"\r\n.\n", b"\n.\r\n", b"\0")
        )


MUTATIONS = (
    _insert_word, _insert_word, _replace_line, _delete, _flip, _repeat, _splice, _join_turns, _change_line_end
)  # fmt: skip


def fuzz_blindly(seconds: float, seed: int, tell: Callable[[str], None]) -> int:
    """Runs the seeds and then mutations of them; gives how many broke a rule."""
    chance = random.Random(seed)
    deadline = time.monotonic() + seconds
    broken = 0
    with tempfile.TemporaryDirectory() as folder:
        target = Target(Path(folder))
        waiting = [b"\0" + one for one in SEEDS]
        while time.monotonic() < deadline and broken < 20:
            data = waiting.pop() if waiting else mutated(chance)
            try:
                target.run_one(data)
            except Exception as error:  # noqa: BLE001 — whatever escapes is what is looked for
                broken += 1
                tell(f"{type(error).__name__}: {error}\n  {data!r}")
        target.close()
    tell(f"{target.runs} dialogues in {seconds:.0f} s, {broken} broke a rule (seed {seed})")
    return broken


def fuzz_by_coverage(seconds: float, seed: int) -> None:
    """Never returns: libFuzzer ends the process, with an error where a rule was broken."""
    folder = Path(tempfile.mkdtemp(prefix="smtp-dialogue-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, one in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(b"\0" + one)
    words = [b"".join(b"\\x%02x" % octet for octet in word) for word in WORDS if len(word) < 100]
    (folder / "words").write_bytes(b"".join(b'"%s"\n' % word for word in words))
    target = Target(folder)
    options = [f"-max_total_time={int(seconds)}", f"-seed={seed}", f"-dict={folder / 'words'}", "-max_len=20000",
               f"-artifact_prefix={folder}/", "-print_final_stats=1", "-rss_limit_mb=2000"]  # fmt: skip
    guide.Setup([sys.argv[0], *options, str(corpus)], lambda data: target.run_one(data) and None)
    guide.Fuzz()


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--seconds", type=float, default=60)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--blind", action="store_true", help="without coverage, even where atheris is installed")
    chosen = words.parse_args()
    if guide is not None:
        fuzz_by_coverage(chosen.seconds, chosen.seed)
    return 1 if fuzz_blindly(chosen.seconds, chosen.seed, lambda text: print(text, flush=True)) else 0


if __name__ == "__main__":
    sys.exit(main())
