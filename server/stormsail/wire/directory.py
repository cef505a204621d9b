"""The directory as the operator sees it: entries, imports, addresses learnt from the primary."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Answer, Asked


class ImportRequest(Asked, frozen=True, kw_only=True):
    """The text of a CSV file with the columns address,name,segment,kind,aliases,members."""

    csv: str
    force: bool = False
    source: Annotated[str, Meta(max_length=300)] = ""
    """The file's name, for the audit trail."""


class ImportAnswer(Answer, frozen=True, kw_only=True):
    """What the import did. Addresses count aliases too."""

    entries: int
    added: int
    removed: int
    changed: int
    warnings: list[str]


class DirectoryEntry(Answer, frozen=True, kw_only=True):
    """One line of the directory."""

    address: str
    name: str
    kind: str
    segment: str | None
    aliases: list[str]
    members: list[str]


class DirectoryPage(Answer, frozen=True, kw_only=True):
    """By address; the next page starts after `next`."""

    entries: list[DirectoryEntry]
    next: str | None


class LearntAddress(Answer, frozen=True, kw_only=True):
    """An address that the primary takes though the directory does not list it."""

    address: str
    at: str


class LearntList(Answer, frozen=True, kw_only=True):
    addresses: list[LearntAddress]
