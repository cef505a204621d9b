"""The benchmark in its shortest form, so that it does not rot; its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from testkit.realparts import need_root, program

RUN = Path(__file__).parent / "run.py"


def test_the_benchmark_runs_and_writes_its_results(tmp_path: Path) -> None:
    program("postfix")
    need_root("Postfix")
    done = subprocess.run(
        [sys.executable, str(RUN), "--rounds", "1", "--scale", "0.02"], cwd=tmp_path, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    lines = json.loads((tmp_path / "bench-results.json").read_text())
    assert {line["goal"] for line in lines} == {2.0, 4.0, 5.0}
    assert all(line["ours"]["median"] > 0 and line["theirs"]["median"] > 0 for line in lines)
    assert all(line["met"] == (line["ratio"]["median"] >= line["goal"]) for line in lines)
