"""The gateway's own time: it follows the machine's clock, but not its jumps (DESIGN §3.16)."""

from __future__ import annotations

from pathlib import Path

import pytest

from stormsail import clock as clock_module
from stormsail.clock import JUMP_MS, UNKNOWN_BOOT, SteadyClock

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_800_000_000_000


class Machine:
    """A machine's two clocks, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.uptime = START, 1_000_000
        monkeypatch.setattr(clock_module, "_wall_ms", lambda: self.wall)
        monkeypatch.setattr(clock_module, "_monotonic_ms", lambda: self.uptime)

    def later(self, milliseconds: int) -> None:
        self.wall += milliseconds
        self.uptime += milliseconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_small_corrections_are_followed(machine: Machine, tmp_path: Path) -> None:
    clock = SteadyClock(tmp_path / "clock", "boot")
    machine.later(DAY)
    machine.wall += JUMP_MS - 1
    assert (clock.now_ms(), clock.doubted_by_ms) == (machine.wall, 0)
    machine.wall -= 2 * JUMP_MS - 2
    clock.now_ms()
    assert clock.doubted_by_ms < 0


@pytest.mark.parametrize("jump", [DAY, -DAY, 60 * DAY, -60 * DAY])
def test_a_jump_is_not_followed_and_is_told_until_it_is_taken_back(machine: Machine, tmp_path: Path, jump: int) -> None:
    clock = SteadyClock(tmp_path / "clock", "boot")
    machine.later(HOUR)
    before = clock.now_ms()
    machine.wall += jump
    machine.later(5 * HOUR)
    assert clock.now_ms() == before + 5 * HOUR
    assert clock.doubted_by_ms == jump
    machine.wall -= jump
    assert (clock.now_ms(), clock.doubted_by_ms) == (machine.wall, 0)


@pytest.mark.parametrize("jump", [60 * DAY, -60 * DAY])
def test_time_goes_on_over_a_restart_while_the_machine_runs(machine: Machine, tmp_path: Path, jump: int) -> None:
    before = SteadyClock(tmp_path / "clock", "boot")
    before.save()
    machine.later(3 * DAY)
    machine.wall += jump
    after = SteadyClock(tmp_path / "clock", "boot")
    assert after.now_ms() == START + 3 * DAY
    assert after.doubted_by_ms == jump


@pytest.mark.parametrize("boot", ["another", UNKNOWN_BOOT])
def test_after_a_boot_the_machine_is_believed_but_time_never_goes_back(
    machine: Machine, tmp_path: Path, boot: str
) -> None:
    SteadyClock(tmp_path / "clock", UNKNOWN_BOOT).save()
    machine.wall += 30 * DAY
    machine.uptime += 5
    assert SteadyClock(tmp_path / "clock", boot).now_ms() == machine.wall
    machine.wall = START - 30 * DAY
    again = SteadyClock(tmp_path / "clock", boot)
    assert again.now_ms() == START
    assert again.doubted_by_ms == -30 * DAY


@pytest.mark.parametrize("content", ["", "nonsense", "boot 1 x", "a b c d"])
def test_a_file_that_says_nothing_is_no_hindrance(machine: Machine, tmp_path: Path, content: str) -> None:
    (tmp_path / "clock").write_text(content)
    assert SteadyClock(tmp_path / "clock", "boot").now_ms() == START
