"""Damage to stored files, one place at a time: what a bad sector, a cut file or a stray hand leaves behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path], None]
"""What is done to a file."""


def cut(share: float) -> Damage:
    """Only so much of the file is left, from its beginning."""

    def apply(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(int(path.stat().st_size * share))

    return apply


def garbled(share: float, octets: int = 64) -> Damage:
    """So many octets are others, at that part of the file."""

    def apply(path: Path) -> None:
        _overwrite(path, int(path.stat().st_size * share), octets)

    return apply


def garbled_behind(words: bytes, octets: int = 8) -> Damage:
    """Octets behind these words are others."""

    def apply(path: Path) -> None:
        at = path.read_bytes().index(words) + len(words)
        _overwrite(path, at, octets)

    return apply


def cut_behind(words: bytes) -> Damage:
    """The file ends with these words."""

    def apply(path: Path) -> None:
        with path.open("r+b") as file:
            file.truncate(file.read().index(words) + len(words))

    return apply


def garbled_page(name: str) -> Damage:
    """The first page of a table or an index of a database is garbage."""

    def apply(path: Path) -> None:
        connection = sqlite3.connect(path)
        try:
            page: int = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)).fetchone()[0]
            size: int = connection.execute("PRAGMA page_size").fetchone()[0]
        finally:
            connection.close()
        _overwrite(path, (page - 1) * size, size)

    return apply


def changed(sql: str) -> Damage:
    """Rows of a database are others, or gone."""

    def apply(path: Path) -> None:
        connection = sqlite3.connect(path)
        try:
            assert connection.execute(sql).rowcount > 0, f"nothing to damage: {sql}"
            connection.commit()
        finally:
            connection.close()

    return apply


def removed(path: Path) -> None:
    """The file is gone."""
    path.unlink()


def _overwrite(path: Path, at: int, octets: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        there = file.read(octets)
        file.seek(at)
        file.write(bytes(octet ^ 0xA5 for octet in there))
