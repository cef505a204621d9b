"""The one way in: whatever door a message comes by, here it is checked, planned and handed to the ledger."""

from .body import HeaderFacts, ReceivedBody
from .connector import ConnectorRule
from .header_check import HeaderCheck
from .intake import Accepted, Incoming, Intake, IntakeParts, Told
from .recipients import Recipients, ResolvedRecipient
from .repeats import Repeats, Session
from .written import Composed, Draft, Writing

__all__ = [
    "Accepted",
    "Composed",
    "ConnectorRule",
    "Draft",
    "HeaderCheck",
    "HeaderFacts",
    "Incoming",
    "Intake",
    "IntakeParts",
    "ReceivedBody",
    "Recipients",
    "Repeats",
    "ResolvedRecipient",
    "Session",
    "Told",
    "Writing",
]
