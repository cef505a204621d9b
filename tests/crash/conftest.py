"""At the end of a run: how many points were tried, and what was found."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def tried(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Called with the line that a test's checker gives in the end."""
    return lambda line: record_property("points", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each test that recorded its points."""
    reports = [one for word in ("passed", "failed") for one in terminalreporter.stats.get(word, [])]
    lines = [value for one in reports if one.when == "call" for name, value in one.user_properties if name == "points"]
    if lines:
        terminalreporter.section("points tried")
        for line in lines:
            terminalreporter.write_line(str(line))
