"""The documents say what is so: links lead somewhere, commands and settings exist, named code and tests are there."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import shlex
import tomllib
import types
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from cyclopts import App

import stormsail.http.routes
from stormsail.cli.app import make_app
from stormsail.config import Settings, check_settings
from testkit.realparts import PACKAGES

ROOT = Path(__file__).parents[2]
SERVER = ROOT / "server" / "stormsail"
DOCS = ROOT / "server" / "docs"
OPERATIONS = DOCS / "operations.md"
MARKDOWN = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not {".venv", "node_modules", "demo-data"} & set(path.relative_to(ROOT).parts)
)
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
CODE_PLACE = re.compile(r"((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)(?::([\w.]+))?")
TEST_PLACE = re.compile(r"tests/[\w/]+(?:\.py)?")
SHELL_ENDS = {"|", "<", ">", "&&", ";"}


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    """The text without fenced blocks."""
    return FENCED.sub("", path.read_text("utf-8"))


def fenced(path: Path, *languages: str) -> str:
    """The fenced blocks in one of the languages, as one text."""
    return "".join(block for language, block in FENCED.findall(path.read_text("utf-8")) if language in languages)


def spans(path: Path) -> list[str]:
    """What stands in backticks."""
    return CODE.findall(prose(path))


# ── links ──


@pytest.mark.parametrize("path", MARKDOWN, ids=identify)
def test_every_relative_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for link in LINK.findall(prose(path)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), f"{link}: there is no such file"
        if anchor:
            assert anchor in anchors(target), f"{link}: there is no such heading"


def anchors(path: Path) -> set[str]:
    """The names by which headings are linked to."""
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(path))]
    return set(plain)


def test_every_document_of_the_server_and_every_decision_is_in_an_index() -> None:
    index = (DOCS / "decisions" / "README.md").read_text("utf-8")
    for path in sorted((DOCS / "decisions").glob("[0-9]*.md")):
        assert f"[{path.name[:3]}]({path.name})" in index
    readme = (ROOT / "README.md").read_text("utf-8")
    for path in sorted(DOCS.glob("*.md")):
        assert f"(server/docs/{path.name})" in readme


# ── commands ──


def commands_in(path: Path) -> Iterator[tuple[str, bool]]:
    """Every call of `stormsail`, without comments and redirections; True where it stands in a shell block."""
    lines = [(line, True) for line in fenced(path, "sh").replace("\\\n", " ").splitlines()]
    for line, whole in [*lines, *((span, False) for span in spans(path))]:
        try:
            words = shlex.split(line, comments=True)
        except ValueError:
            continue
        if words[:1] == ["sudo"]:
            words = words[1:]
        if words and words[0].rpartition("/")[2] == "stormsail":
            end = next((at for at, word in enumerate(words) if word in SHELL_ENDS), len(words))
            yield shlex.join(words[1:end]), whole


COMMANDS = sorted(
    {
        (identify(path), command, whole)
        for path in MARKDOWN
        if path.name not in ("contract.md", "design.md")
        for command, whole in commands_in(path)
    }
)
LATER = {"tui"}
"""Commands that documents name as not built."""


@pytest.mark.parametrize(("where", "command", "whole"), COMMANDS)
def test_every_command_that_is_named_can_be_called_so(where: str, command: str, whole: bool) -> None:
    words = shlex.split(command)
    if words[:1] and words[0] in LATER:
        return
    app = make_app()
    chain, _, rest = app.parse_commands(words)
    assert chain or not words, f"{where}: there is no command {command!r}"
    if whole or rest:
        app.parse_args(words, exit_on_error=False, print_error=False)


def test_the_contract_says_which_commands_there_are() -> None:
    built, later = contract_row("command line")
    everything = {" ".join(chain) for chain in chains(make_app())}
    named = set(CODE.findall(built))
    assert named <= everything
    missing = everything - named - {"account", "mailbox", "ledger"}
    assert {name for name in missing if name.split()[0] not in ("demo", "queue")} == set()
    assert not set(CODE.findall(later)) & everything


def contract_row(name: str) -> tuple[str, str]:
    """The two cells of a row of the table of what is built."""
    for line in (DOCS / "contract.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == name:
            return cells[1], cells[2]
    raise AssertionError(f"no row {name}")


def chains(app: App, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is, with the words that lead to it."""
    for name in app:
        if name.startswith("-"):
            continue
        yield (*before, name)
        yield from chains(app[name], (*before, name))


def test_the_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    built, _ = contract_row("make")
    assert set(CODE.findall(built)) | {"help"} == targets
    for path in (ROOT / "README.md", ROOT / "server" / "README.md", ROOT / "tests" / "README.md"):
        assert set(re.findall(r"^make (\w+)", fenced(path, "sh"), re.MULTILINE)) <= targets


# ── settings ──


def keys_of(kind: type[msgspec.Struct], prefix: str = "") -> Iterator[str]:
    """Every key of the configuration as `table.key`; a list of tables counts as one table."""
    for field in msgspec.structs.fields(kind):
        table = next((one for one in (field.type, *get_args(field.type)) if is_table(one)), None)
        if table is None or field.name.endswith(("_mark", "_password")):
            yield prefix + field.name
        else:
            yield from keys_of(table, f"{prefix}{field.name}.")


def is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def test_operations_lists_every_setting_and_no_other() -> None:
    tables = {field.name for field in msgspec.structs.fields(Settings)}
    named = {span for span in spans(OPERATIONS) if re.fullmatch(r"[a-z]+(\.[a-z_]+)+", span)}
    named = {span for span in named if span.split(".")[0] in tables and not span.endswith((".db", ".toml"))}
    assert named - {"primary.drain"} == set(keys_of(Settings))


def test_the_configuration_in_operations_is_in_order(tmp_path: Path) -> None:
    example = fenced(OPERATIONS, "toml")
    for name in ("fullchain.pem", "privkey.pem", "mailboxes.csv"):
        (tmp_path / name).touch()
    (tmp_path / "stormsail.toml").write_text(example)
    checked = check_settings(tmp_path / "stormsail.toml")
    assert checked.mistakes == ()
    assert checked.warnings == ()


def test_the_configuration_of_the_contract_has_only_settings_that_exist(tmp_path: Path) -> None:
    example = fenced(DOCS / "contract.md", "toml")
    known = set(keys_of(Settings))
    for table, content in tomllib.loads(example).items():
        for key in flat(content[0] if isinstance(content, list) else content, f"{table}."):
            assert key in known


def flat(table: dict[str, Any], prefix: str) -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict) and key == "drain":
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key


# ── logs ──

LEVELS = ("info", "warning", "error", "exception")
FROM_PARTS = {"event_closed", "event_relapsed", "request"}
"""Words of the log that the code puts together."""


def test_operations_tells_of_every_word_that_the_log_may_say() -> None:
    text = OPERATIONS.read_text("utf-8")
    section = text[text.index("## Logs") : text.index("## Metrics")]
    told = {word for word in CODE.findall(section) if re.fullmatch(r"[a-z]+(_[a-z]+)*", word)} - {
        "event",
        "reply",
        "why",
    }
    said = {word for path in SERVER.rglob("*.py") if "demo" not in path.parts for word in words_of_the_log(path)}
    assert told == said | FROM_PARTS


def words_of_the_log(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS):
            continue
        if node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            yield node.args[0].value


# ── code and tests ──


def places() -> list[tuple[str, str, str]]:
    """(document, file, name in it) for everything like `store/writer.py:Writer`."""
    found = []
    for path in [DOCS / "overview.md", DOCS / "rfcs.md", DOCS / "performance.md", *(DOCS / "decisions").glob("*.md")]:
        for span in spans(path):
            match = CODE_PLACE.fullmatch(span)
            if match is not None:
                found.append((identify(path), match[1], match[2] or ""))
    return found


@pytest.mark.parametrize(("where", "file", "name"), places())
def test_the_code_that_is_named_is_there(where: str, file: str, name: str) -> None:
    path = ROOT / file if file.startswith("tests/") else SERVER / file
    assert path.is_file(), f"{where}: there is no {file}"
    if name:
        assert name in names_in(path), f"{where}: there is no {name} in {file}"


def test_the_threads_that_are_named_are_started() -> None:
    code = "".join(path.read_text("utf-8") for path in SERVER.rglob("*.py"))
    named = {span for span in spans(DOCS / "overview.md") if re.fullmatch(r"stormsail-[a-z0-9]+", span)}
    assert named == set(re.findall(r'"(stormsail-[a-z0-9]+)"', code)) - {"stormsail-operators"}


@lru_cache(maxsize=256)
def names_in(path: Path) -> frozenset[str]:
    """Classes, functions and methods as `Class.method`."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            names |= {f"{node.name}.{one.name}" for one in inner}
    return frozenset(names)


@pytest.mark.parametrize("path", [DOCS / "overview.md", DOCS / "rfcs.md"], ids=identify)
def test_the_tests_that_are_named_are_there(path: Path) -> None:
    named = [span for span in spans(path) if TEST_PLACE.fullmatch(span)]
    assert named
    for name in named:
        assert (ROOT / name).exists(), f"there is no {name}"


def test_every_standard_that_is_kept_names_its_code() -> None:
    lines = (DOCS / "rfcs.md").read_text("utf-8").splitlines()
    rows = [line.split("|")[1:-1] for line in lines if re.match(r"\| \d", line)]
    assert len(rows) > 30
    for standard, state, code, tests in rows:
        word = re.match(r" (yes|partly|no)\b", state)
        assert word is not None, standard
        if word[1] != "no":
            assert CODE.search(code), f"{standard}: where?"
            assert tests.strip(), f"{standard}: proved by what?"


def test_the_packages_of_the_server_are_all_told_of() -> None:
    readme = (ROOT / "server" / "README.md").read_text("utf-8")
    packages = {path.name for path in SERVER.iterdir() if path.is_dir() and path.name != "__pycache__"} | {"clock"}
    assert {name for name in packages if f"`{name}`" not in readme} == set()


def test_the_paths_of_the_api_that_are_named_exist() -> None:
    known = {pattern(path) for path in api_paths()}
    for path in (ROOT / "README.md", OPERATIONS, *(DOCS / "decisions").glob("*.md")):
        text = path.read_text("utf-8")
        named = [f"/{one}" for one in re.findall(r"\$api/([a-z/$]+)", text)]
        named += re.findall(r"/api/v1(/[a-z][a-z/]*)", text)
        for one in named:
            shown = re.sub(r"\$[a-z]+", "x", one).rstrip("/")
            assert any(known_one.fullmatch(shown) for known_one in known), f"{identify(path)}: {one}"


def api_paths() -> Iterator[str]:
    for info in pkgutil.iter_modules(stormsail.http.routes.__path__):
        module: types.ModuleType = importlib.import_module(f"stormsail.http.routes.{info.name}")
        for route in getattr(module, "ROUTES", []):
            yield from route.paths


def pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{[^}]*\}", "[^/]+", path))


# ── what tests need ──


def test_the_real_parts_that_tests_ask_for_are_those_that_are_installed() -> None:
    script = (ROOT / ".ci" / "real-parts").read_text("utf-8")
    found = re.search(r"^packages=\((.*)\)$", script, re.MULTILINE)
    assert found is not None
    installed = set(found[1].split())
    assert {package for packages in PACKAGES.values() for package in packages.split()} <= installed
