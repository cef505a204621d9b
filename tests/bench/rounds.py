"""Lines of the benchmark: paired ones, ours and theirs in turn in interleaved rounds, so that a noisy machine disturbs
both alike, and lines of our own figures, which are held against a limit.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

Spread = dict[str, float]
Counts = Literal["median", "max"]


class Line(msgspec.Struct):
    """A line of `bench-results.json`; figures are per second unless `unit` says otherwise.

    With a `peer` the median of the ratios has to reach the goal. Without one `theirs` and `ratio` are None, and what
    `counts` names of `ours` must not be above the goal. A goal of None: the figure is only told, and `met` is None.
    """

    name: str
    unit: str
    ours: Spread
    peer: str | None
    theirs: Spread | None
    ratio: Spread | None
    rounds: int
    goal: float | None
    met: bool | None
    counts: Counts = "median"
    more: dict[str, float] = {}
    """Further figures that belong to this one, by name."""


def compare(
    name: str, unit: str, goal: float, rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> Line:
    """Measures both in each round; the verdict is the median of the rounds' ratios."""
    ours()
    theirs()
    pairs: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            their, our = theirs(), ours()
        else:
            our, their = ours(), theirs()
        pairs.append((our, their))
    return paired(name, unit, goal, pairs)


def paired(name: str, unit: str, goal: float | None, pairs: Sequence[tuple[float, float]]) -> Line:
    """A line of (ours, theirs), a pair for each round."""
    ratios = [our / their if their else 0.0 for our, their in pairs]
    met = None if goal is None else statistics.median(ratios) >= goal
    ours, theirs = [our for our, _ in pairs], [their for _, their in pairs]
    return Line(name, unit, spread(ours), "postfix", spread(theirs), spread(ratios), len(pairs), goal, met)


def alone(
    name: str,
    unit: str,
    figures: Sequence[float],
    goal: float | None = None,
    *,
    counts: Counts = "median",
    more: Mapping[str, float] | None = None,
) -> Line:
    """A line of figures of ours, each one measurement; the goal is a limit from above."""
    ours = spread(figures)
    met = None if goal is None else ours[counts] <= goal
    told = {key: round(value, 3) for key, value in (more or {}).items()}
    return Line(name, unit, ours, None, None, None, len(figures), goal, met, counts, told)


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def share(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values (0 to 1) do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


HEAD = f"{'':<58} {'ours':>9} {'Postfix':>9}  ratio, or least to greatest"


def as_row(line: Line) -> str:
    """The line as people read it on a terminal."""
    word = {True: "met", False: "MISSED", None: ""}[line.met]
    theirs = f"{line.theirs['median']:>9.4g}" if line.theirs is not None else " " * 9
    between = f"  {_between(line)}  {as_goal(line)}  {word}".rstrip()
    more = "".join(f"\n{'':<6}{name}: {value:g}" for name, value in line.more.items())
    return f"{line.name:<58} {line.ours['median']:>9.4g} {theirs}{between}{more}"


def _between(line: Line) -> str:
    if line.ratio is not None:
        return f"{line.ratio['median']:.2f} ({line.ratio['min']:.2f} to {line.ratio['max']:.2f})"
    return f"{line.ours['min']:g} to {line.ours['max']:g} {line.unit}"


def as_goal(line: Line) -> str:
    """The goal in words; empty where there is none."""
    if line.goal is None:
        return ""
    if line.ratio is not None:
        return f"goal {line.goal:g}"
    which = "worst" if line.counts == "max" else "median"
    return f"goal {which} up to {line.goal:g}"


def to_json(lines: list[Line]) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode(lines), indent=2) + b"\n"
