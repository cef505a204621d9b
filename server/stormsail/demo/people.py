"""The demo's organisation: people in three segments, their shared addresses, groups and aliases.

Invented; the domains are reserved for examples (RFC 2606). Everything else in the demo is derived from here: the
gateway's directory, the sandbox primary's mailboxes, the accounts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import msgspec

DOMAIN = "alderfinch.example"
COMPANY = "Alder & Finch"
STAFF_PASSWORD = "fair-winds-2026"
OPERATOR = f"operator@{DOMAIN}"
OPERATOR_PASSWORD = "hold-the-helm-2026"
SEGMENTS = ("london", "leeds", "berlin")


class Person(msgspec.Struct, frozen=True):
    """Somebody who works there; `language` is the one they write in."""

    name: str
    segment: str
    work: str
    language: str = "en"

    @property
    def address(self) -> str:
        return f"{_plain(self.name).replace(' ', '.')}@{DOMAIN}"

    @property
    def alias(self) -> str:
        """The short address, such as `a.hughes@`."""
        first, last = _plain(self.name).split(" ", 1)
        return f"{first[0]}.{last.replace(' ', '.')}@{DOMAIN}"

    @property
    def first_name(self) -> str:
        return self.name.partition(" ")[0]


PEOPLE = (
    Person("Amelia Hughes", "london", "managing director"),
    Person("Daniel Okafor", "london", "finance"),
    Person("Priya Raman", "london", "finance"),
    Person("Tom Bradley", "london", "sales"),
    Person("Sofia Marchetti", "london", "sales"),
    Person("Grace Lindqvist", "london", "legal"),
    Person("Callum Reid", "london", "design"),
    Person("Yuki Tanaka", "london", "design"),
    Person("Harriet Shaw", "london", "people"),
    Person("Michael Osei", "london", "it"),
    Person("Rachel Dunne", "leeds", "warehouse"),
    Person("Imran Qureshi", "leeds", "warehouse"),
    Person("Beth Ackroyd", "leeds", "dispatch"),
    Person("Liam Fothergill", "leeds", "dispatch"),
    Person("Zofia Nowak", "leeds", "quality"),
    Person("Peter Holroyd", "leeds", "support"),
    Person("Nadia Rahman", "leeds", "support"),
    Person("Jonas Weber", "berlin", "sales", "de"),
    Person("Katrin Möller", "berlin", "sales", "de"),
    Person("Emre Yıldız", "berlin", "engineering", "de"),
    Person("Lena Brandt", "berlin", "engineering", "de"),
    Person("Felix Krüger", "berlin", "engineering", "de"),
    Person("Anna Schäfer", "berlin", "purchasing", "de"),
    Person("Hannah Vogel", "berlin", "it", "de"),
    Person("Claire Dubois", "berlin", "marketing", "fr"),
)
TRANSLITERATED = str.maketrans({"ö": "oe", "ä": "ae", "ü": "ue", "ß": "ss", "ı": "i", "é": "e"})


def _plain(name: str) -> str:
    return name.lower().translate(TRANSLITERATED)


class OtherEntry(msgspec.Struct, frozen=True):
    """An address that is no person: a shared one, a group, a room, a contact outside."""

    address: str
    name: str
    kind: str
    segment: str = ""
    aliases: tuple[str, ...] = ()
    members: tuple[str, ...] = ()


def _at(*works: str, segment: str | None = None) -> tuple[str, ...]:
    return tuple(
        person.address for person in PEOPLE if (not works or person.work in works) and segment in (None, person.segment)
    )


INFO = f"info@{DOMAIN}"
SUPPORT = f"support@{DOMAIN}"
EVERYBODY = f"everybody@{DOMAIN}"
OTHERS = (
    OtherEntry(INFO, "Alder & Finch information", "shared", "london", (f"hello@{DOMAIN}",), _at("people", "sales")),
    OtherEntry(SUPPORT, "Customer support", "shared", "leeds", (f"help@{DOMAIN}",), _at("support")),
    OtherEntry(f"boardroom@{DOMAIN}", "Board room, London", "resource", "london"),
    *(
        OtherEntry(f"all-{segment}@{DOMAIN}", f"Everybody in {segment.title()}", "group", "", (), _at(segment=segment))
        for segment in SEGMENTS
    ),
    OtherEntry(f"engineering@{DOMAIN}", "Engineering", "group", "", (), _at("engineering", "design")),
    OtherEntry(EVERYBODY, "Everybody", "group", "", (), tuple(f"all-{segment}@{DOMAIN}" for segment in SEGMENTS)),
    OtherEntry("auditor@hartley-audit.example", "Hartley Audit (outside)", "contact"),
)


def directory_csv(people: Sequence[Person] = PEOPLE, others: Sequence[OtherEntry] = OTHERS) -> str:
    """The organisation in the gateway's CSV form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["address", "name", "segment", "kind", "aliases", "members"])
    for person in people:
        writer.writerow([person.address, person.name, person.segment, "mailbox", person.alias, ""])
    for other in others:
        lists = [" ".join(other.aliases), " ".join(other.members)]
        writer.writerow([other.address, other.name, other.segment, other.kind, *lists])
    return text.getvalue()


def person_at(address: str) -> Person | None:
    """The person with that address."""
    return next((person for person in PEOPLE if person.address == address), None)
