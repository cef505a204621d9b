"""The benchmarks in their shortest forms, so that they do not rot; their figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.loader import Plan, address, directory_csv, load
from bench.stores import reader_of
from testkit.gateway import running_gateway
from testkit.ports import free_port
from testkit.realparts import need_root, program
from testkit.strace import need_strace

BENCH = Path(__file__).parent
BESIDE_POSTFIX = {"accepts": 2, "connections": 1, "relays": 3, "syncs": 6}
ALONE = {"activation": 3, "sizes": 10, "memory": 1, "lag": 2, "stall": 1}
"""How many lines each name has."""
Lines = list[dict[str, Any]]


def start(folder: Path, names: dict[str, int], scale: str) -> subprocess.Popen[bytes]:
    """Begins to measure; the lines come into a file in `folder`."""
    folder.mkdir()
    words = [sys.executable, str(BENCH / "run.py"), "--rounds", "1", "--scale", scale, "--only", *names]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lines, Lines]:
    """All lines beside Postfix and all others, measured at the same time: figures mean nothing here."""
    program("postfix")
    need_root("Postfix")
    need_strace()
    folders = [tmp_path_factory.mktemp("bench") / name for name in ("paired", "alone")]
    running = [start(folders[0], BESIDE_POSTFIX, "0.01"), start(folders[1], ALONE, "0.002")]
    found = []
    for folder, process in zip(folders, running, strict=True):
        said, complaint = process.communicate(timeout=400)
        assert process.returncode == 0, said.decode() + complaint.decode()
        lines: Lines = json.loads((folder / "bench-results.json").read_text())
        assert all(line["name"] in said.decode() for line in lines)
        found.append(lines)
    return found[0], found[1]


def test_every_line_beside_postfix_is_measured_on_both_sides(measured: tuple[Lines, Lines]) -> None:
    lines, _ = measured
    assert len(lines) == sum(BESIDE_POSTFIX.values())
    for line in lines:
        assert line["peer"] == "postfix"
        assert line["ours"]["median"] > 0
        assert line["theirs"]["median"] > 0
        assert line["met"] == (None if line["goal"] is None else line["ratio"]["median"] >= line["goal"])


def test_every_line_of_our_own_is_measured_and_held_against_its_goal(measured: tuple[Lines, Lines]) -> None:
    _, lines = measured
    assert len(lines) == sum(ALONE.values())
    for line in lines:
        assert line["peer"] is line["theirs"] is line["ratio"] is None
        assert 0 < line["ours"]["min"] <= line["ours"]["median"] <= line["ours"]["max"]
        assert line["met"] == (None if line["goal"] is None else line["ours"][line["counts"]] <= line["goal"])


@pytest.mark.parametrize("plan", [
    Plan(900, 60, fan_out=3, open_deliveries=90, days=3),
    Plan(200, 60, open_deliveries=50, open_state="held", in_largest=40),
], ids=["queued", "held"])  # fmt: skip
def test_loaded_data_are_such_as_a_gateway_writes(plan: Plan) -> None:
    with running_gateway(primary=free_port(), started=False) as gateway:
        (gateway.folder / "mailboxes.csv").write_text(directory_csv(plan.mailboxes))
        load(gateway.data, plan)
        gateway.start()
        gateway.assert_sound()
        health = {one["name"]: one for one in gateway.status()["own_health"]}
        assert health["copies"]["detail"].startswith("0 messages to file, 0 to prepare")
        assert gateway.status()["totals"]["accepted"] == plan.copies
        with reader_of(gateway, 0) as client:
            page = client.get(f"/mailboxes/{address(0)}/messages", params={"limit": 1000}).json()
            assert len(page["messages"]) == min(500, len(range(0, plan.messages, plan.every)))
            first = client.get(f"/messages/{page['messages'][0]['id']}").json()
            assert first["text"]
            word = first["text"].split()[0]
            found = client.get(f"/mailboxes/{address(0)}/messages", params={"q": word}).json()
            assert page["messages"][0]["id"] in [one["id"] for one in found["messages"]]


def test_the_soak_runs_and_tells_what_each_figure_was() -> None:
    program("smtp-sink")
    words = [sys.executable, str(BENCH / "soak.py"), "--minutes", "0.1", "--rate", "20"]
    done = subprocess.run(words, capture_output=True, timeout=120)
    said = done.stdout.decode()
    assert "memory of the gateway" in said, said + done.stderr.decode()
    assert "messages sent" in said
    assert done.returncode in (0, 1), done.stderr.decode()
