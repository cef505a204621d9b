"""The copies: the readable message in each mailbox, made by following the ledger (DESIGN §1, §6)."""

from stormsail.digest import Correspondent, PartNode

from .mailstore import Mailstore
from .values import (
    FOLDERS,
    Attachment,
    ChangeKind,
    Copy,
    CopyChange,
    CopyPage,
    CopyState,
    FolderCount,
    Lag,
    MessageSummary,
    View,
)

__all__ = [
    "FOLDERS",
    "Attachment",
    "ChangeKind",
    "Copy",
    "CopyChange",
    "CopyPage",
    "CopyState",
    "Correspondent",
    "FolderCount",
    "Lag",
    "Mailstore",
    "MessageSummary",
    "PartNode",
    "View",
]
