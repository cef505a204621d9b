"""The SMTP doors: MX and connector (RFC 5321), on aiosmtpd with its reading and writing replaced."""

from .door import Door, DoorParts
from .limits import Admission, DataMemory

__all__ = ["Admission", "DataMemory", "Door", "DoorParts"]
