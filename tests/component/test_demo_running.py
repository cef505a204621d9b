"""Several demos on one machine: which one a second shell means, and that each leaves the others' ports alone."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from stormsail.demo.breaking import break_primary
from stormsail.demo.faults import TAKEN, Faults, write_faults
from stormsail.demo.layout import Layout, find_demo
from stormsail.demo.running import running_demos
from stormsail.domain.errors import BadRequest

KILLED = """
import os, signal, sys
from pathlib import Path
from stormsail.demo.layout import Layout
Layout(Path(sys.argv[1])).take()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Layout]]:
    """Takes a folder as a demo does, without its processes. The current folder is one without a demo."""
    (tmp_path / "tmp").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    taken = []

    def take(name: str) -> Layout:
        layout = Layout(tmp_path / name)
        layout.take()
        taken.append(layout)
        return layout

    yield take
    for layout in taken:
        layout.leave()


def files_in_tmp(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "tmp").iterdir())


def test_a_shell_in_another_folder_means_the_only_demo_and_hears_which_it_is(
    start: Callable[[str], Layout], capsys: pytest.CaptureFixture[str]
) -> None:
    demo = start("one")
    write_faults(demo.mail, Faults().with_broken("inbound"), TAKEN)
    break_primary("inbound")
    assert f"The sandbox primary of the demo in {demo.folder}: inbound" in capsys.readouterr().out


def test_of_several_demos_the_one_in_this_folder_is_meant_and_elsewhere_it_must_be_said(
    start: Callable[[str], Layout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = start("one/demo-data"), start("two")
    with pytest.raises(BadRequest, match="2 demos are running, none of them in this folder") as caught:
        find_demo()
    assert str(first.folder) in caught.value.sentence
    assert find_demo(tmp_path / "two").folder == second.folder
    monkeypatch.chdir(tmp_path / "one")
    assert find_demo().folder == first.folder
    monkeypatch.chdir(tmp_path / "two")
    assert find_demo().folder == second.folder


def test_the_end_of_the_second_demo_leaves_the_first_to_be_found(
    start: Callable[[str], Layout], tmp_path: Path
) -> None:
    first, second = start("one"), start("two")
    second.leave()
    assert find_demo().folder == first.folder
    first.leave()
    assert files_in_tmp(tmp_path) == []
    with pytest.raises(BadRequest, match="No demo is running"):
        find_demo()


def test_a_demo_that_was_killed_is_not_found_and_its_file_goes(start: Callable[[str], Layout], tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(files_in_tmp(tmp_path)) == 1
    demo = start("killed")
    assert [state.folder for state in running_demos()] == [str(demo.folder)]
    demo.leave()
    assert files_in_tmp(tmp_path) == []


def test_the_ports_of_a_running_demo_are_left_alone_though_nobody_listens_on_them(
    start: Callable[[str], Layout],
) -> None:
    start("one")
    start("two")
    start("three")
    ports = [port for state in running_demos() for port in msgspec.structs.astuple(state.ports)]
    assert len(ports) == len(set(ports)) == 21
