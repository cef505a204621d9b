"""What lies on disk: databases and their migrations, body files, the owner of the data, the one writer."""

from .bodies import BodyDamaged, BodyFiles, Note, SpooledBody
from .database import BUSY_MS, DatabaseBusy, begin_log_anew, connect_reader, connect_writer, migrate, open_reader
from .job import Job
from .ownership import EpochMark, Ownership
from .records import BodyRef, Packed, Place, Record, Written, pack
from .rows import execute_rows, returning_rows
from .space import free_bytes
from .writer import NEVER_TAKEN, Writer

__all__ = [
    "BUSY_MS",
    "NEVER_TAKEN",
    "BodyDamaged",
    "BodyFiles",
    "BodyRef",
    "DatabaseBusy",
    "EpochMark",
    "Job",
    "Note",
    "Ownership",
    "Packed",
    "Place",
    "Record",
    "SpooledBody",
    "Writer",
    "Written",
    "begin_log_anew",
    "connect_reader",
    "connect_writer",
    "execute_rows",
    "free_bytes",
    "migrate",
    "open_reader",
    "pack",
    "returning_rows",
]
