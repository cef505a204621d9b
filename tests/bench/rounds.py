"""Paired measurements: ours and theirs in turn, rounds interleaved, so that a noisy machine disturbs both alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import msgspec


class Line(msgspec.Struct):
    """A line of `bench-results.json`; figures are per second unless `unit` says otherwise."""

    name: str
    unit: str
    ours: dict[str, float]
    peer: str
    theirs: dict[str, float]
    ratio: dict[str, float]
    rounds: int
    goal: float
    met: bool


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
    ratios = [our / their for our, their in pairs]
    return Line(
        name,
        unit,
        _spread([our for our, _ in pairs]),
        "postfix",
        _spread([their for _, their in pairs]),
        _spread(ratios),
        rounds,
        goal,
        statistics.median(ratios) >= goal,
    )


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
    }


def as_row(line: Line) -> str:
    """The line as people read it."""
    word = "met" if line.met else "MISSED"
    return (
        f"{line.name:<44} {line.ours['median']:>9.1f} {line.theirs['median']:>9.1f}"
        f" {line.ratio['median']:>6.2f} ({line.ratio['min']:.2f} to {line.ratio['max']:.2f})"
        f"  goal {line.goal:g}  {word}"
    )


def to_json(lines: list[Line]) -> bytes:
    """The file's content."""
    return msgspec.json.format(msgspec.json.encode([_plain(line) for line in lines]), indent=2) + b"\n"


def _plain(line: Line) -> dict[str, Any]:
    return msgspec.structs.asdict(line)
