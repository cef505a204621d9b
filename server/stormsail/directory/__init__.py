"""The directory: who has an address here, imported by source, in a snapshot that the accept path looks into."""

from .directory import COMMAND, Directory, DirectorySummary, ImportResult, LearntAddress
from .importing import FILE
from .rows import ImportRun
from .snapshot import DirectorySnapshot, DomainRule, Entry, EntryKind, inherited, key_of, make_snapshot

__all__ = [
    "COMMAND",
    "FILE",
    "Directory",
    "DirectorySnapshot",
    "DirectorySummary",
    "DomainRule",
    "Entry",
    "EntryKind",
    "ImportResult",
    "ImportRun",
    "LearntAddress",
    "inherited",
    "key_of",
    "make_snapshot",
]
