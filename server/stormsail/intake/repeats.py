"""Which accepts were never confirmed, so that their senders may honestly send them again (DESIGN §3.3).

A fingerprint is the hash of reverse path, recipient and bytes as received. An accept is confirmed once its peer has
sent another command after our 250. Until then its entry lives here and in the ledger; it counts as the original of a
repeat if its session is gone, or if the peer's machine has not acknowledged our reply.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Protocol


class Session(Protocol):
    """The connection that an accept's reply went to."""

    def reply_in_doubt(self) -> bool:
        """Whether the peer may not have our last reply yet."""
        ...


def fingerprint(reverse_path: str, recipient: str, received_hash: bytes) -> bytes:
    """16 octets that stand for this message to this recipient."""
    text = f"{reverse_path}\0{recipient}\0".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text + received_hash, digest_size=16).digest()


class Repeats:
    """In memory what the ledger's table `unconfirmed` is on disk."""

    def __init__(self, unconfirmed: Iterable[tuple[bytes, int]] = ()) -> None:
        self._entries: dict[bytes, dict[int, Session | None]] = {}
        for print_, message_id in unconfirmed:
            self._entries.setdefault(print_, {})[message_id] = None

    def reload(self, unconfirmed: Iterable[tuple[bytes, int]]) -> None:
        """After a commit of unknown outcome: what the ledger has now, beside the accepts of living sessions."""
        for print_, message_id in unconfirmed:
            self._entries.setdefault(print_, {}).setdefault(message_id, None)

    def open(self, prints: Iterable[bytes], message_id: int, session: Session | None) -> None:
        """An accept whose 250 is about to be sent to `session`."""
        for print_ in prints:
            self._entries.setdefault(print_, {})[message_id] = session

    def orphan(self, prints: Iterable[bytes], message_id: int) -> None:
        """The session is gone without a confirmation."""
        self.open(prints, message_id, None)

    def close(self, prints: Iterable[bytes], message_id: int) -> None:
        """The accept is confirmed, or was never one."""
        for print_ in prints:
            entries = self._entries.get(print_)
            if entries is not None:
                entries.pop(message_id, None)
                if not entries:
                    del self._entries[print_]

    def forget_before(self, message_id: int) -> None:
        """Accepts before that one are too old to be sent again (five days)."""
        for print_ in [print_ for print_, entries in self._entries.items() if min(entries) < message_id]:
            self.close((print_,), min(self._entries[print_]))

    def original_of(self, print_: bytes) -> int | None:
        """The id of the accept that a message with this fingerprint repeats; None: it is a new message."""
        for message_id, session in self._entries.get(print_, {}).items():
            if session is None or session.reply_in_doubt():
                return message_id
        return None
