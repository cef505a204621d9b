"""The command line against a running gateway: JSON for programs, plain text for people, exit codes for scripts."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from stormsail.cli import run
from testkit.api_gateway import CONFIG, PASSWORD, ApiGateway, api_gateway
from testkit.waiting import wait_until

COMMAND = [sys.executable, "-m", "stormsail.cli"]
PATIENCE_S = 30
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(gateway: ApiGateway, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs a command for the shared gateway; gives exit code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = run([*words, "--config", str(gateway.config_path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def parsed(cli: Cli, *words: str) -> Any:
    """The command's JSON value."""
    code, out, err = cli(*words, "--json")
    assert (code, err) == (0, ""), err
    return json.loads(out)


def process(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command as a process of its own."""
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [*COMMAND, *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment,
        check=False,
    )


def receive(gateway: ApiGateway, subject: str, to: str = "bo@example.com") -> dict[str, Any]:
    message = EmailMessage()
    message["From"] = "someone@elsewhere.example"
    message["Subject"] = subject
    message.set_content("Hello\n")
    gateway.receive(message, to)
    return gateway.wait_for_message(gateway.signed_in(to), to, subject)


# ── as processes ──


def test_status_as_a_process_prints_one_json_value_and_nothing_else(gateway: ApiGateway) -> None:
    done = process("status", "--json", "--config", str(gateway.config_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["hostname"] == "mx.example.com"


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("status", "--colour"),
        ("activate", "--scope", "all"),
        ("queue", "drop"),
        ("trace",),
        ("account", "add", "x@example.com", "--role", "king"),
    ],
)
def test_wrong_use_is_told_in_one_line_with_exit_code_2(cli: Cli, words: tuple[str, ...]) -> None:
    code, out, err = cli(*words)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("words", [("status",), ("account", "list"), ("ledger", "check"), ("mailbox", "list")])
def test_without_a_gateway_it_says_so_plainly(
    tmp_path: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "stormsail.toml"
    config.write_text(CONFIG)
    for data_dir_exists in (False, True):
        if data_dir_exists:
            (tmp_path / "data").mkdir()
        assert run([*words, "--config", str(config)]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "The gateway is not running" in said.err


def test_without_a_configuration_it_says_where_it_looked(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "status"], capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path, check=False
    )
    assert done.returncode == 1
    assert "stormsail.toml" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_mistake_in_the_configuration_does_not_keep_one_from_the_running_gateway(
    gateway: ApiGateway, tmp_path: Path
) -> None:
    broken = gateway.config_path.parent / "broken.toml"
    broken.write_text('[server]\ndata_dir = "data"\nnonsense = 1\n')
    assert process("status", "--config", str(broken)).returncode == 0
    done = process("check-config", "--config", str(broken))
    assert done.returncode == 1
    assert "server.nonsense" in done.stderr
    assert "server.hostname" in done.stderr


def test_somebody_at_a_terminal_has_to_type_the_word_and_a_script_has_not(tmp_path: Path) -> None:
    with api_gateway(tmp_path) as gateway:
        words = ("activate", "--scope", "all", "--reason", "typed", "--config", str(gateway.config_path))
        assert at_terminal("no\n", *words) == 1
        assert gateway.control().get("/api/v1/events").json()["events"] == []
        assert at_terminal("all\n", *words) == 0
        drop = ("queue", "drop", "all", "--config", str(gateway.config_path))
        assert at_terminal("\n", *drop) == 1
        assert at_terminal("drop\n", *drop) == 0
        assert at_terminal("", *drop, "--yes") == 0
        assert process(*drop).returncode == 0


def at_terminal(typed: str, *words: str) -> int:
    """Runs a command with a terminal as its stdin, on which something is typed."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    done = subprocess.run([*COMMAND, *words], stdin=theirs, capture_output=True, timeout=PATIENCE_S, check=False)
    os.close(ours)
    os.close(theirs)
    return done.returncode


def test_a_password_comes_by_stdin_and_never_by_argument(gateway: ApiGateway) -> None:
    words = ("account", "add", "stdin@example.com", "--role", "staff", "--password-stdin")
    done = process(*words, "--config", str(gateway.config_path), stdin=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    body = {"address": "stdin@example.com", "password": PASSWORD}
    assert gateway.client().post("/api/v1/session", json=body).status_code == 200


# ── in this process ──


def test_options_may_stand_before_the_command_too(gateway: ApiGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--config", str(gateway.config_path), "--json", "events"]) == 0
    assert json.loads(capsys.readouterr().out) == {"events": []}


def test_status_for_people_says_what_matters(cli: Cli) -> None:
    code, out, _ = cli("status")
    assert code == 0
    assert "Stormsail 0." in out
    assert "No continuity event" in out
    assert "7 mailboxes in 2 segments" in out
    assert "can sign in" in out


def test_an_event_from_start_to_report(cli: Cli, gateway: ApiGateway) -> None:
    event = parsed(cli, "activate", "--scope", "mailbox:vi@example.com", "--reason", "a rehearsal")
    assert event["state"] == "active"
    found = receive(gateway, "Held by command", "vi@example.com")
    held = wait_until(
        lambda: parsed(cli, "queue", "--state", "held", "--recipient", "vi@example.com")["deliveries"],
        "a held delivery",
    )
    assert held[0]["message_id"] == found["trace_id"]

    code, out, err = cli("end", event["id"])
    assert (code, out) == (1, "")
    assert err.startswith("stormsail: The primary does not take mail yet")
    assert len(err.splitlines()) == 1

    assert parsed(cli, "queue", "drop", f"id:{held[0]['id']}") == {"changed": 1}
    report = parsed(cli, "report", event["id"], "--messages")
    assert report["balanced"]
    assert report["balance"]["came_in"] == report["balance"]["dropped"] == len(report["messages"]) == 1
    code, out, _ = cli("report", event["id"])
    assert code == 0
    assert "The balance comes out." in out
    assert "vi@example.com" in out

    assert parsed(cli, "end", event["id"], "--force")["state"] == "draining"
    wait_until(lambda: parsed(cli, "events")["events"] == [], "the event to close")
    assert event["id"] in [one["id"] for one in parsed(cli, "events", "--all")["events"]]


def test_a_scope_that_means_nothing_is_refused_with_the_nearest_one(cli: Cli) -> None:
    code, out, err = cli("activate", "--scope", "segment:london2", "--reason", "typo")
    assert (code, out) == (1, "")
    assert "did you mean london?" in err


def test_the_queue_is_listed_and_moved(cli: Cli, gateway: ApiGateway) -> None:
    found = receive(gateway, "In the queue")
    selector = f"id:{found['trace_id']}"
    wait_until(lambda: parsed(cli, "queue", "hold", selector)["changed"] == 1, "the delivery to be held")
    (row,) = parsed(cli, "queue", "--id", found["trace_id"])["deliveries"]
    assert (row["state"], row["recipient"]) == ("held", "bo@example.com")
    assert cli("queue", "release", selector) == (0, "1 delivery released\n", "")
    assert parsed(cli, "queue", "retry", selector)["changed"] in (0, 1)
    code, out, _ = cli("queue", "--domain", "example.com", "--limit", "1")
    assert code == 0
    assert out.splitlines()[0].startswith("ID ")
    assert "the next ones with --after" in out
    assert cli("queue", "lanes")[0] == 0
    code, _, err = cli("queue", "hold", "colour:blue")
    assert (code, len(err.splitlines())) == (1, 1)


def test_a_trace_tells_every_step(cli: Cli, gateway: ApiGateway) -> None:
    found = receive(gateway, "Every step")
    code, out, _ = cli("trace", "every", "step")
    assert code == 0
    assert "Every step" in out
    assert "To bo@example.com: " in out
    (traced,) = parsed(cli, "trace", found["trace_id"])["messages"]
    assert traced["deliveries"][0]["steps"][0]["input"] == "accept"
    assert cli("trace", "nothing", "like", "this")[0] == 1


def test_what_foreigners_wrote_does_nothing_to_a_terminal(cli: Cli, gateway: ApiGateway) -> None:
    """The reason of an event takes any text: here it stands for all that comes from outside."""
    reason = "\x1b[2Jgone \u202egpj.exe\nsecond line"
    body = {"scope": "mailbox:ow@example.com", "reason": reason}
    event = gateway.control().post("/api/v1/events", json=body).json()
    for words in (("events",), ("status",), ("report", event["id"]), ("audit",)):
        _, out, _ = cli(*words)
        assert "gone" in out
        assert all(line.isprintable() for line in out.split("\n"))
        assert cli(*words, "--json")[1].isascii()
    gateway.control().post(f"/api/v1/events/{event['id']}/end", json={"force": True})


def test_accounts_are_listed_disabled_and_opened_again(cli: Cli) -> None:
    assert parsed(cli, "account", "add", "cli@example.com", "--role", "viewer")["role"] == "viewer"
    assert cli("account", "add", "cli@example.com", "--role", "viewer")[0] == 1
    assert parsed(cli, "account", "role", "cli@example.com", "staff")["role"] == "staff"
    assert cli("account", "disable", "cli@example.com") == (0, "cli@example.com (staff) is disabled\n", "")
    listed = {one["address"]: one for one in parsed(cli, "account", "list")["accounts"]}
    assert listed["cli@example.com"]["disabled_at"] is not None
    assert parsed(cli, "account", "enable", "cli@example.com")["disabled_at"] is None
    code, out, _ = cli("account", "list")
    assert code == 0
    assert "no password" in out


def test_an_import_that_would_remove_too_many_needs_force(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head = "address,name,segment,kind,aliases,members\n"
    many, few = tmp_path / "many.csv", tmp_path / "few.csv"
    many.write_text(head + "".join(f"p{number}@example.com,,,,,\n" for number in range(40)))
    few.write_text(head + "p1@example.com,,,,,\n")
    with api_gateway(tmp_path) as gateway:
        where = ["--config", str(gateway.config_path)]
        assert run(["mailbox", "import", str(many), *where]) == 0
        assert "40 entries imported: 40 added" in capsys.readouterr().out
        assert run(["mailbox", "import", str(few), *where]) == 1
        assert "--force" in capsys.readouterr().err
        assert run(["mailbox", "import", str(few), "--force", "--json", *where]) == 0
        assert json.loads(capsys.readouterr().out)["removed"] == 39
        assert run(["mailbox", "list", "p1@", "--json", *where]) == 0
        assert [one["address"] for one in json.loads(capsys.readouterr().out)["entries"]] == ["p1@example.com"]


def test_a_file_that_is_not_there_is_told_in_a_sentence(cli: Cli) -> None:
    code, _, err = cli("mailbox", "import", "/nowhere/at/all.csv")
    assert code == 1
    assert "/nowhere/at/all.csv" in err


def test_the_directory_is_listed(cli: Cli) -> None:
    shared = parsed(cli, "mailbox", "list", "--kind", "shared")["entries"]
    assert [one["address"] for one in shared] == ["info@example.com", "sales/uk@example.com"]
    code, out, _ = cli("mailbox", "list", "smith")
    assert code == 0
    assert "a.smith@example.com" in out
    assert parsed(cli, "mailbox", "learnt") == {"addresses": []}


def test_the_ledger_check_is_clean_and_the_audit_trail_names_who_did_what(cli: Cli) -> None:
    assert parsed(cli, "ledger", "check") == {"ok": True, "differences": []}
    assert cli("reload")[0] == 0
    (newest,) = parsed(cli, "audit", "--limit", "1")["entries"]
    assert newest["action"] == "reload"
    assert newest["actor"].startswith("uid:")
    assert cli("audit")[0] == 0


def test_a_configuration_in_order_is_told_so(cli: Cli, gateway: ApiGateway) -> None:
    assert cli("check-config") == (0, f"{gateway.config_path} is in order\n", "")
    checked = parsed(cli, "check-config")
    assert (checked["ok"], checked["mistakes"]) == (True, [])
