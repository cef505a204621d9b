"""The whole demo as a process, in a hurry: everything breaks, the gateway takes over, hands back, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from testkit.waiting import wait_until

PLAY = """
import sys
from pathlib import Path
from stormsail.demo import run_demo
from stormsail.demo.correspondents import Pace
sys.exit(run_demo(Path(sys.argv[1]), True, Pace(0.2, 0.3, 0.5)))
"""
SHELL = "import sys; from pathlib import Path; from stormsail import demo; {call}"
START_S = 90.0


class Demo:
    """A running demo and a second shell beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "d"
        self._said = folder / "said"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PLAY, str(self.folder)],
                stdout=said,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONIOENCODING": "utf-8", "TMPDIR": str(self._said.parent)},
            )
        self.hear("\nready ", START_S)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def said(self) -> str:
        return self._said.read_text("utf-8", "replace")

    def hear(self, words: str, patience_s: float = 60.0) -> None:
        wait_until(lambda: words in self.said(), f"the demo to say {words!r}", patience_s, self.said)

    def shell(self, call: str) -> None:
        subprocess.run([sys.executable, "-c", SHELL.format(call=call)], check=True, timeout=60, capture_output=True)

    def stormsail(self, *words: str) -> Any:
        command = [sys.executable, "-m", "stormsail.cli", *words, "--config", str(self.folder / "stormsail.toml")]
        done = subprocess.run(command, check=True, timeout=60, capture_output=True)
        return json.loads(done.stdout) if "--json" in words else done.stdout.decode()

    def held(self) -> int:
        return int(self.stormsail("status", "--json")["queue"]["held"])


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    running = Demo(tmp_path)
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        assert running.stop() == 0


def test_the_whole_story_is_told_and_every_message_arrives(demo: Demo) -> None:
    demo.hear("(by the primary)")
    demo.shell(f"demo.break_primary('all', Path({str(demo.folder)!r}))")
    demo.hear("The sandbox primary: all (it is gone")
    demo.stormsail("activate", "--scope", "all", "--reason", "outage")
    demo.hear("(here)")
    wait_until(lambda: demo.held() >= 20, "mail that is held", detail=demo.said)
    demo.shell(f"demo.heal_primary(Path({str(demo.folder)!r}))")
    demo.hear("The primary is well, the event is still on")
    (event,) = demo.stormsail("status", "--json")["events"]
    demo.stormsail("end", event["id"])
    demo.hear(f"Event {event['id']} is over.")
    demo.hear("messages written so far are there, ", 100)
    report = demo.stormsail("report", event["id"], "--json")
    assert report["balanced"]
    assert report["balance"]["handed_back"] >= 20
    assert demo.stop() == 0
    demo.start()
    assert "begins anew" in demo.said()
    assert demo.stormsail("ledger", "check")


def test_the_banner_fits_a_terminal_and_says_where_to_sign_in(demo: Demo) -> None:
    banner, _, ready = demo.said().partition("\n\nready ")
    assert "Ctrl-C ends everything." in banner.splitlines()[-1]
    assert ready.startswith("gateway=http://127.0.0.1:")
    typed = str(demo.folder)
    assert max(len(line) for line in banner.splitlines() if typed not in line and "../" not in line) <= 100
    assert "/api/v1\n" in banner
    assert "no page to sign in to yet" in banner
    assert "begins anew" not in banner


def test_faults_that_the_gateway_cannot_see_are_seen_on_the_console(demo: Demo) -> None:
    demo.shell(f"demo.break_primary('outbound', Path({str(demo.folder)!r}))")
    demo.hear("Look at the lines `out` on the console")
    demo.hear("(could not be sent: it waits in the primary's queue)")
    demo.shell(f"demo.break_primary('identity', Path({str(demo.folder)!r}))")
    demo.hear("cannot send by the primary: 454 4.7.0 Temporary authentication failure\n")


def test_a_second_demo_in_the_same_folder_is_refused_and_a_second_shell_needs_a_running_one(demo: Demo) -> None:
    second = subprocess.run(
        [sys.executable, "-c", PLAY, str(demo.folder)], capture_output=True, timeout=60, check=False
    )
    assert second.returncode == 1
    assert b"is running in" in second.stdout
    assert demo.stop() == 0
    with pytest.raises(subprocess.CalledProcessError) as caught:
        demo.shell(f"demo.break_primary('all', Path({str(demo.folder)!r}))")
    assert b"No demo is running" in caught.value.stderr
