"""`make bench`: every benchmark, a table on the terminal and `bench-results.json`.

Nothing else should run meanwhile. `--only NAME …` chooses, `--rounds N` and `--scale X` (of the numbers of messages,
mailboxes and seconds) make it shorter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.activation import activation
from bench.against_postfix import accepts, connections, relays
from bench.lag import lag
from bench.memory import memory
from bench.rounds import HEAD, Line, as_goal, as_row, to_json
from bench.sizes import sizes
from bench.stall import stall
from bench.syncs import syncs

BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"
MEASURES: dict[str, Callable[[int, float], Iterator[Line]]] = {
    "accepts": accepts,
    "connections": connections,
    "relays": relays,
    "syncs": syncs,
    "activation": activation,
    "sizes": sizes,
    "memory": memory,
    "lag": lag,
    "stall": stall,
}


def fill(page: Path, lines: list[Line]) -> None:
    """Puts the tables between the page's markers: one beside Postfix, one of our own figures."""
    text = page.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    head = f"Medians on {os.cpu_count()} processors; beside Postfix of interleaved rounds."
    page.write_text("\n".join([before + BEGIN, head, *_paired_table(lines), *_own_table(lines), END + after]), "utf-8")


def _paired_table(lines: list[Line]) -> list[str]:
    rows = [
        f"| {line.name} | {line.unit} | {line.ours['median']:.4g} | {line.theirs['median']:.4g} |"
        f" {line.ratio['median']:.2f} ({line.ratio['min']:.2f} to {line.ratio['max']:.2f}) |"
        f" {as_goal(line)} | {_word(line)} |"
        for line in lines
        if line.theirs is not None and line.ratio is not None
    ]
    head = ["", "| work | unit | ours | Postfix | ratio, median (min to max) | goal | met |", "| --- " * 7 + "|"]
    return [*head, *rows] if rows else []


def _own_table(lines: list[Line]) -> list[str]:
    rows = [
        f"| {line.name} | {line.unit} | {line.ours['median']:.4g} | {line.ours['min']:.4g} to {line.ours['max']:.4g} |"
        f" {as_goal(line)} | {_word(line)} |"
        for line in lines
        if line.theirs is None
    ]
    head = ["", "| work | unit | ours | least to greatest | goal | met |", "| --- " * 6 + "|"]
    return [*head, *rows] if rows else []


def _word(line: Line) -> str:
    return {True: "yes", False: "no", None: ""}[line.met]


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=7, help="of the paired lines; others take at most three")
    words.add_argument("--scale", type=float, default=1.0)
    words.add_argument("--only", choices=list(MEASURES), nargs="+", default=list(MEASURES))
    words.add_argument("--document", type=Path, help="a page with the markers of `make bench`, to be filled")
    chosen = words.parse_args()
    lines: list[Line] = []
    print(HEAD, flush=True)
    for name in chosen.only:
        began = time.monotonic()
        for line in MEASURES[name](chosen.rounds, chosen.scale):
            print(as_row(line), flush=True)
            lines.append(line)
        print(f"{'':<6}{name}: {time.monotonic() - began:.0f} s", flush=True)
    Path("bench-results.json").write_bytes(to_json(lines))
    if chosen.document is not None:
        fill(chosen.document, lines)
    print(f"{os.cpu_count()} processors; written to bench-results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
