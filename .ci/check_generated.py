"""Are generated files up to date? requirements*.lock must be what pyproject.toml asks for.

In: the files of this folder. Out: exit code 0, or 1 with a sentence for each difference. Asks no package index: every
requirement must be pinned by a version that suits it, every pin must have hashes, both locks must agree.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==(\S+)(?: ;[^\\]*)? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE
)
KNOWN_LINE = re.compile(r"#.*|[A-Za-z0-9._-]+==\S+( ;[^\\]*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")


def main() -> int:
    """The exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    run, dev = (ROOT / "requirements.lock").read_text("utf-8"), (ROOT / "requirements-dev.lock").read_text("utf-8")
    build = project["build-system"]["requires"]
    wanted = [*project["project"]["dependencies"], *build]
    problems = [
        *_check_lock("requirements.lock", run, wanted),
        *_check_lock("requirements-dev.lock", dev, [*wanted, *project["project"]["optional-dependencies"]["dev"]]),
    ]
    if project["dependency-groups"]["build"] != build:
        problems.append("pyproject.toml: dependency-groups.build and build-system.requires differ")
    pins = _pins(dev)
    problems += [
        f"requirements-dev.lock: {name} is not {version} as in requirements.lock"
        for name, version in _pins(run).items()
        if pins.get(name) != version
    ]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _check_lock(name: str, text: str, wanted: list[str]) -> list[str]:
    pins = _pins(text)
    problems = [
        f"{name}: line {number} is neither a pin nor a hash: {line}"
        for number, line in enumerate(text.splitlines(), 1)
        if not KNOWN_LINE.fullmatch(line)
    ]
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        if version is None:
            problems.append(f"{name}: {requirement.name} is missing: make lock")
        elif not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{name}: {requirement.name} {version} does not suit {requirement.specifier}: make lock")
    return problems


def _pins(text: str) -> dict[str, str]:
    """Package → version, of those with hashes."""
    return {canonicalize_name(name): version for name, version, _ in PIN.findall(text)}


if __name__ == "__main__":
    sys.exit(main())
