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
from bench.rounds import as_row, to_json


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--rounds", type=int, default=7)
    words.add_argument("--scale", type=float, default=1.0)
    words.add_argument("--only", choices=["accepts", "relays"])
    chosen = words.parse_args()
    lines = []
    print(f"{'':<44} {'ours':>9} {'Postfix':>9}  ratio, median (min to max) of {chosen.rounds} rounds", flush=True)
    for name, measure in (("accepts", accepts), ("relays", relays)):
        if chosen.only in (None, name):
            for line in measure(chosen.rounds, chosen.scale):
                print(as_row(line), flush=True)
                lines.append(line)
    Path("bench-results.json").write_bytes(to_json(lines))
    print(f"{os.cpu_count()} processors; written to bench-results.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
