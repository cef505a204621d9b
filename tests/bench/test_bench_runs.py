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
SCALE = {"memory": "0.001", "lag": "0.02", "stall": "0.01"}
PAIRED = {"accepts": 2, "connections": 1, "relays": 3, "syncs": 6}
ALONE = {"activation": 3, "sizes": 10, "memory": 1, "lag": 2, "stall": 1}


def run(folder: Path, name: str, scale: str) -> list[dict[str, Any]]:
    """The lines that `run.py` writes for one name."""
    words = [sys.executable, str(BENCH / "run.py"), "--rounds", "1", "--scale", scale, "--only", name]
    done = subprocess.run(words, cwd=folder, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
    lines: list[dict[str, Any]] = json.loads((folder / "bench-results.json").read_text())
    for line in lines:
        assert line["name"] in done.stdout.decode()
    return lines


@pytest.mark.parametrize("name", PAIRED)
def test_a_line_beside_postfix_is_measured_on_both_sides(name: str, tmp_path: Path) -> None:
    program("postfix")
    need_root("Postfix")
    if name == "syncs":
        need_strace()
    lines = run(tmp_path, name, "0.01")
    assert len(lines) == PAIRED[name]
    for line in lines:
        assert line["peer"] == "postfix"
        assert line["ours"]["median"] > 0
        assert line["theirs"]["median"] > 0
        assert line["met"] == (None if line["goal"] is None else line["ratio"]["median"] >= line["goal"])


@pytest.mark.parametrize("name", ALONE)
def test_a_line_of_our_own_is_measured_and_held_against_its_goal(name: str, tmp_path: Path) -> None:
    program("smtp-sink")
    lines = run(tmp_path, name, SCALE.get(name, "0.001"))
    assert len(lines) == ALONE[name]
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
