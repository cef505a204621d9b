"""Messages that the primary has accepted and not passed on: to the world, or into a mailbox that does not take them.

In: envelope and bytes. Out: the same, oldest first, also after a restart. A message is a `.eml` beside an envelope in
JSON, which is renamed into place last.
"""

from __future__ import annotations

from pathlib import Path

import msgspec


class Waiting(msgspec.Struct):
    """One message on its way."""

    name: str
    reverse_path: str
    recipients: list[str]


class Spool:
    """A folder of waiting messages."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._waiting = {
            file.stem: msgspec.json.decode(file.read_bytes(), type=Waiting) for file in sorted(path.glob("*.json"))
        }
        self._last = max((int(name) for name in self._waiting), default=0)

    def add(self, reverse_path: str, recipients: list[str], content: bytes) -> None:
        """Keeps a message until `remove`."""
        self._last += 1
        waiting = Waiting(f"{self._last:010d}", reverse_path, recipients)
        (self._path / f"{waiting.name}.eml").write_bytes(content)
        self.keep(waiting)

    def keep(self, waiting: Waiting) -> None:
        """Writes a changed envelope back."""
        fresh = self._path / f".{waiting.name}"
        fresh.write_bytes(msgspec.json.encode(waiting))
        fresh.rename(self._path / f"{waiting.name}.json")
        self._waiting[waiting.name] = waiting

    def list(self) -> tuple[Waiting, ...]:
        """All that wait, oldest first."""
        return tuple(self._waiting.values())

    def content(self, waiting: Waiting) -> bytes:
        return (self._path / f"{waiting.name}.eml").read_bytes()

    def remove(self, waiting: Waiting) -> None:
        self._waiting.pop(waiting.name, None)
        for suffix in ("json", "eml"):
            (self._path / f"{waiting.name}.{suffix}").unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._waiting)
