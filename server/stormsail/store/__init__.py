"""What lies on disk: databases and their migrations, body files, the owner of the data, the one writer."""

from .bodies import BodyDamaged, BodyFiles, BodyRef, Note, Record, SpooledBody, Written
from .database import connect_reader, connect_writer, migrate, open_reader
from .ownership import EpochMark, Ownership
from .rows import execute_rows
from .space import free_bytes
from .writer import NEVER_TAKEN, Job, Writer

__all__ = [
    "NEVER_TAKEN",
    "BodyDamaged",
    "BodyFiles",
    "BodyRef",
    "EpochMark",
    "Job",
    "Note",
    "Ownership",
    "Record",
    "SpooledBody",
    "Writer",
    "Written",
    "connect_reader",
    "connect_writer",
    "execute_rows",
    "free_bytes",
    "migrate",
    "open_reader",
]
