"""`make bench`: every benchmark, a table on the terminal and `bench-results.json`.

Nothing else should run meanwhile. `--rounds N` and `--scale X` (of the numbers of messages) make it shorter.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.against_postfix import accepts, relays
from bench.rounds import Line, as_row, to_json

BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"


def fill(page: Path, lines: list[Line]) -> None:
    """Puts the table between the page's markers."""
    text = page.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    rows = [
        f"| {line.name} | {line.ours['median']:.0f} | {line.theirs['median']:.0f} | {line.ratio['median']:.2f}"
        f" ({line.ratio['min']:.2f} to {line.ratio['max']:.2f}) | {line.goal:g} | {'yes' if line.met else 'no'} |"
        for line in lines
    ]
    head = f"Messages a second, median of {lines[0].rounds} interleaved rounds on {os.cpu_count()} processors."
    table = "| work | ours | Postfix | ratio, median (min to max) | goal | met |\n| --- | --- | --- | --- | --- | --- |"
    page.write_text("\n".join([before + BEGIN, head, "", table, *rows, END + after]), "utf-8")


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--scale", type=float, default=1.0)
    words.add_argument("--only", choices=["accepts", "relays"])
    words.add_argument("--document", type=Path, help="a page with the markers of `make bench`, to be filled")
    chosen = words.parse_args()
    lines = []
    print(f"{'':<44} {'ours':>9} {'Postfix':>9}  ratio, median (min to max) of {chosen.rounds} rounds", flush=True)
    for name, measure in (("accepts", accepts), ("relays", relays)):
        if chosen.only in (None, name):
            for line in measure(chosen.rounds, chosen.scale):
                print(as_row(line), flush=True)
                lines.append(line)
    Path("bench-results.json").write_bytes(to_json(lines))
    if chosen.document is not None:
        fill(chosen.document, lines)
    print(f"{os.cpu_count()} processors; written to bench-results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
