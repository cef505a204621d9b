"""What can be broken about the sandbox primary, and how it answers then. Pure, but for the file that carries it.

In: the words of `demo break`. Out: a `Faults` value that the primary asks before each answer. The file is replaced as
a whole; the primary looks at it a few times a second and says in a second file what it has taken in.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path

import msgspec

from stormsail.domain.errors import BadRequest

from .people import SEGMENTS

WANTED = "faults.json"
TAKEN = "faults-taken.json"


class Kind(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"
    MAILBOX = "mailbox"
    IDENTITY = "identity"
    ALL = "all"
    BOUNCE = "bounce"


WORDS = {
    Kind.INBOUND: "it refuses mail with 451 or drops the connection",
    Kind.OUTBOUND: "it sends nothing out; what its people write stays in its queue",
    Kind.MAILBOX: "it takes mail but delivers none, and its IMAP hangs",
    Kind.IDENTITY: "nobody can sign in to it",
    Kind.ALL: "it is gone: no connection is taken",
    Kind.BOUNCE: "it bounces mail for people who exist (550 5.1.10)",
}


UNSEEN = {
    Kind.OUTBOUND: "The gateway cannot see it: nothing comes to its connector door. "
    "Look at the lines `out` on the console.",
    Kind.MAILBOX: "The gateway cannot see it: the primary goes on saying 250. "
    "Look at the lines `so far` on the console: "
    "the number in the primary's inboxes stands still; and at the primary's IMAP, which hangs.",
    Kind.IDENTITY: "The gateway cannot see it: mail comes in and goes to the primary as before. "
    "Look at the lines `cannot send by the primary` on the console, and try to sign in to its IMAP.",
}
"""What people notice and a gateway does not: somebody has to tell the operator, and the operator decides."""


class Faults(msgspec.Struct, frozen=True):
    """What is broken now."""

    kinds: frozenset[Kind] = frozenset()
    segments: frozenset[str] = frozenset()

    @property
    def healthy(self) -> bool:
        return not self.kinds and not self.segments

    @property
    def gone(self) -> bool:
        return Kind.ALL in self.kinds

    def has(self, kind: Kind, segment: str | None = None) -> bool:
        """Whether that is broken, for somebody of that segment where one is given."""
        return kind in self.kinds or self.gone or (segment is not None and segment in self.segments)

    def with_broken(self, what: str) -> Faults:
        """This and one more. Raises BadRequest with the kinds there are."""
        word, _, name = what.partition(":")
        if word == "segment" and name:
            if name not in SEGMENTS:
                raise BadRequest(f"There is no segment {name!r} in the demo, only {', '.join(SEGMENTS)}")
            return msgspec.structs.replace(self, segments=self.segments | {name})
        try:
            return msgspec.structs.replace(self, kinds=self.kinds | {Kind(what)})
        except ValueError:
            kinds = ", ".join(kind.value for kind in Kind)
            raise BadRequest(f"What can be broken is {kinds} or segment:NAME, not {what!r}") from None

    def describe(self) -> str:
        """A sentence for the console."""
        parts = [f"{kind.value} ({WORDS[kind]})" for kind in sorted(self.kinds)]
        parts += [f"segment:{name} (its mailboxes answer 451 4.3.2)" for name in sorted(self.segments)]
        return "; ".join(parts) or "nothing is broken"


def unseen(before: Faults, now: Faults) -> list[str]:
    """What to look at, for each new fault that does not show at the gateway; one that shows hides the others."""
    if now.gone or now.segments or {Kind.INBOUND, Kind.BOUNCE} & now.kinds:
        return []
    return [UNSEEN[kind] for kind in sorted(now.kinds - before.kinds) if kind in UNSEEN]


def read_faults(folder: Path, name: str = WANTED) -> Faults:
    """What stands in the file; nothing is broken where there is none."""
    try:
        return msgspec.json.decode((folder / name).read_bytes(), type=Faults)
    except FileNotFoundError:
        return Faults()


def write_faults(folder: Path, faults: Faults, name: str = WANTED) -> None:
    """Replaces the file as a whole."""
    fresh = folder / f".{name}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(faults))
    fresh.replace(folder / name)
