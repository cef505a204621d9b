"""A selected folder as one IMAP client knows it (RFC 3501 §6.4): FETCH, STORE, SEARCH, EXPUNGE over its view.

In: words of a command. Out: untagged responses. Sequence numbers are those of the client's view, which changes only
when it is told of messages that came or went.
"""

from __future__ import annotations

from collections.abc import Callable

from .imap_fetch import fetched, items_of
from .imap_search import Criteria
from .imap_syntax import numbers_of
from .mailboxes import Folder, Stored


class Selected:
    """`say` sends one untagged response."""

    def __init__(self, folder: Folder, read_only: bool, say: Callable[[bytes], None]) -> None:
        self.folder = folder
        self.read_only = read_only
        self.view = list(folder.messages)
        self._say = say

    def catch_up(self) -> None:
        """Tells of messages that went and came since the client was last told."""
        for number in range(len(self.view), 0, -1):
            if self.view[number - 1] not in self.folder.messages:
                del self.view[number - 1]
                self._say(b"* %d EXPUNGE" % number)
        last = self.view[-1] if self.view else 0
        fresh = [uid for uid in self.folder.messages if uid > last]
        if fresh:
            self.view += fresh
            self._say(b"* %d EXISTS" % len(self.view))

    def _chosen(self, text: str, by_uid: bool) -> list[tuple[int, Stored]]:
        """The messages of a sequence set that are still there, with their sequence numbers."""
        wanted = numbers_of(text, (self.view[-1] if by_uid else len(self.view)) if self.view else 0)
        return [
            (number, self.folder.messages[uid])
            for number, uid in enumerate(self.view, 1)
            if uid in self.folder.messages and any((uid if by_uid else number) in part for part in wanted)
        ]

    def fetch(self, which: str, words: list[object], by_uid: bool) -> None:
        """FETCH; asking for a body without PEEK marks the message read."""
        items = items_of([*(["UID"] if by_uid else []), *words])
        items = list({item.label: item for item in items}.values())
        for number, stored in self._chosen(which, by_uid):
            if not self.read_only and "\\Seen" not in stored.flags and any(item.sets_seen for item in items):
                self.folder.set_flags(stored.uid, stored.flags | {"\\Seen"})
            self._say(b"* %d FETCH " % number + fetched(items, stored))

    def store(self, which: str, how: str, words: list[object], by_uid: bool) -> None:
        """STORE: FLAGS, +FLAGS or -FLAGS, each also .SILENT."""
        given = frozenset(
            str(flag).capitalize() if not str(flag).startswith("\\") else "\\" + str(flag)[1:].capitalize()
            for word in words
            for flag in (word if isinstance(word, list) else [word])
        )
        for number, stored in self._chosen(which, by_uid):
            kept = stored.flags | given if how[:1] == "+" else stored.flags - given if how[:1] == "-" else given
            self.folder.set_flags(stored.uid, kept)
            if not how.endswith(".SILENT"):
                self._say(b"* %d FETCH " % number + fetched(items_of(["FLAGS", *(["UID"] if by_uid else [])]), stored))

    def search(self, words: list[object], by_uid: bool) -> None:
        """SEARCH: one untagged line with what was found."""
        test = Criteria(words, len(self.view), self.view[-1] if self.view else 0).read_all()
        found = [
            uid if by_uid else number
            for number, uid in enumerate(self.view, 1)
            if uid in self.folder.messages and test(number, self.folder.messages[uid])
        ]
        self._say(b" ".join([b"* SEARCH", *(b"%d" % number for number in found)]))

    def expunge(self) -> None:
        """Removes what is marked deleted; `catch_up` tells of it."""
        for uid in [uid for uid, stored in self.folder.messages.items() if "\\Deleted" in stored.flags]:
            self.folder.remove(uid)
