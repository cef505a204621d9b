"""The directory's CSV form: what is read, and that every mistake is named with its line."""

from __future__ import annotations

import pytest

from stormsail.directory import DomainRule, Entry, EntryKind, make_snapshot
from stormsail.directory.csvfile import read_csv
from stormsail.directory.importing import plan_import
from stormsail.domain.address import parse_address
from stormsail.domain.errors import BadRequest, Conflict

OURS = ["example.com", "example.de"]
DOMAINS = [DomainRule(name, "sandbox", "verify") for name in OURS]


def read_one(text: str) -> Entry:
    reading = read_csv(text, OURS)
    assert reading.mistakes == []
    ((_, entry),) = reading.lines
    return entry


def mistakes_of(text: str, held: dict[str, list[Entry]] | None = None) -> list[str]:
    with pytest.raises(BadRequest) as caught:
        plan_import(text, "file", held or {}, DOMAINS, force=False)
    return caught.value.sentence.split("\n")


def people(count: int) -> str:
    return "address\n" + "".join(f"p{number}@example.com\n" for number in range(count))


def held_by(source: str, text: str) -> dict[str, list[Entry]]:
    return {source: plan_import(text, source, {}, DOMAINS, force=True).entries}


def test_a_row_with_everything_is_read() -> None:
    entry = read_one(
        "address,name,segment,kind,aliases,members\n"
        'Ann@Example.COM,"Smith, Ann",london,Shared,a.smith@example.com ann@example.de,bo@example.com eve@example.org\n'
    )
    assert entry == Entry(
        "ann@example.com",
        "Smith, Ann",
        "london",
        EntryKind.SHARED,
        ("a.smith@example.com", "ann@example.de"),
        ("bo@example.com", "eve@example.org"),
    )


def test_only_the_address_is_needed_and_the_kind_is_mailbox() -> None:
    assert read_one("address\nann@example.com") == Entry("ann@example.com", "", None, EntryKind.MAILBOX)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffaddress;name\r\nann@example.com;Ann\r\n",
        "NAME,Address\nAnn,ann@example.com\n",
        "\nname;ADDRESS;;\n\nAnn;ann@example.com;;\n;;\n",
    ],
    ids=["BOM, semicolons and CRLF", "other order and case", "empty lines and trailing delimiters"],
)
def test_spreadsheets_habits_are_accepted(text: str) -> None:
    assert read_one(text) == Entry("ann@example.com", "Ann", None, EntryKind.MAILBOX)


def test_a_quoted_local_part_with_a_space_is_one_alias() -> None:
    entry = read_one('address,aliases\nann@example.com,"""ann b""@example.com a@example.com"\n')
    assert entry.aliases == ('"ann b"@example.com', "a@example.com")


def test_an_international_domain_is_kept_as_a_labels() -> None:
    reading = read_csv("address\nann@bücher.example\n", ["xn--bcher-kva.example"])
    assert [entry.address for _, entry in reading.lines] == ["ann@xn--bcher-kva.example"]


def test_a_group_of_a_whole_company_fits_into_a_cell() -> None:
    members = " ".join(f"person.number.{number}@example.com" for number in range(20_000))
    assert len(read_one(f"address,kind,members\nall@example.com,group,{members}\n").members) == 20_000


def test_a_contact_and_members_may_be_outside_our_domains() -> None:
    assert read_one("address,kind\nbo@example.org,contact\n").address == "bo@example.org"
    assert read_one("address,kind,members\nall@example.com,group,bo@example.org\n").members == ("bo@example.org",)


def test_every_mistake_is_named_with_its_line_at_once() -> None:
    text = (
        "address,naem,kind,members,aliases\n"
        "ann@example.com,,mailbx,,\n"
        "bo@exmaple.com,,,,\n"
        "not an address,,,,\n"
        '"eve@example.com","two\nlines",,,\n'
        "fay@example.com,,,ann@example.com,\n"
        "gil@example.com,,,,gil@elsewhere.test,surplus\n"
        ",,group,,\n"
    )
    assert mistakes_of(text) == [
        "line 1: there is no column 'naem', did you mean name?",
        "line 2: there is no kind 'mailbx', did you mean mailbox?",
        "line 3: the address 'bo@exmaple.com' is in no domain of ours, did you mean example.com?",
        "line 4: the address 'not an address' is none: The address has no domain",
        "line 7: a mailbox has no members, only a group, a shared address or a resource has",
        "line 8: 'surplus' stands in no column",
        "line 8: the alias 'gil@elsewhere.test' is in no domain of ours, known are example.com, example.de",
        "line 9: the address is missing",
    ]


def test_a_line_break_in_a_name_is_refused() -> None:
    assert mistakes_of('address,name\nann@example.com,"two\nlines"\n') == [
        "line 2: the name contains control characters or a line break"
    ]


def test_a_broken_quote_is_named_with_its_line() -> None:
    (mistake,) = mistakes_of('address,name\nann@example.com,"Ann"x\nbo@example.com,Bo\n')
    assert mistake.startswith("line 2: not CSV")


def test_a_file_without_column_names_is_refused() -> None:
    assert "line 1: the first line must name the columns, and there must be one called address" in mistakes_of(
        "ann@example.com,Ann\n"
    )


def test_an_empty_file_is_refused() -> None:
    assert mistakes_of("") == ["line 1: the first line must name the columns, and there must be one called address"]


def test_an_address_twice_is_refused() -> None:
    assert mistakes_of("address\nann@example.com\nANN@example.com\n") == [
        "line 3: ann@example.com is on line 2 already"
    ]


def test_an_address_claimed_by_two_entries_is_refused_on_both_lines() -> None:
    text = "address,aliases\nann@example.com,info@example.com\nbo@example.com,info@example.com ann@example.com\n"
    assert mistakes_of(text) == [
        "line 2: ann@example.com of ann@example.com is also claimed by bo@example.com on line 3",
        "line 2: info@example.com of ann@example.com is also claimed by bo@example.com on line 3",
        "line 3: info@example.com of bo@example.com is also claimed by ann@example.com on line 2",
        "line 3: ann@example.com of bo@example.com is also claimed by ann@example.com on line 2",
    ]


def test_an_alias_that_another_import_gave_away_is_refused() -> None:
    held = held_by("import", "address,aliases\nbo@example.com,info@example.com\n")
    assert mistakes_of("address,aliases\nann@example.com,info@example.com\n", held) == [
        "line 2: info@example.com of ann@example.com is also claimed by bo@example.com of another import"
    ]


def test_of_two_sources_the_command_goes_before_the_file() -> None:
    held = held_by("import", "address,segment\nann@example.com,leeds\n")
    plan = plan_import("address,segment\nann@example.com,london\nbo@example.com,\n", "file", held, DOMAINS, force=False)
    assert {entry.address: entry.segment for entry in plan.union} == {
        "ann@example.com": "leeds",
        "bo@example.com": None,
    }
    assert plan.added == ("bo@example.com",)
    assert plan.warnings == ("ann@example.com is listed by two sources that differ; that of the file gives way",)


def test_what_changes_is_counted() -> None:
    held = held_by("file", people(40))
    text = people(39) + "new@example.com\n"
    plan = plan_import(text.replace("p0@", "P0@").replace("p1@example.com\n", ""), "file", held, DOMAINS, force=False)
    assert (plan.added, plan.removed, plan.changed) == (
        ("new@example.com",),
        ("p1@example.com", "p39@example.com"),
        (),
    )


def test_removing_just_a_twentieth_needs_no_force() -> None:
    held = held_by("file", people(100))
    assert len(plan_import(people(95), "file", held, DOMAINS, force=False).removed) == 5


def test_removing_more_than_a_twentieth_needs_force() -> None:
    held = held_by("file", people(100))
    with pytest.raises(Conflict, match=r"remove 6 of 100 addresses \(6 %\): p94@example.com, .*--force"):
        plan_import(people(94), "file", held, DOMAINS, force=False)
    assert len(plan_import(people(94), "file", held, DOMAINS, force=True).removed) == 6


def test_aliases_count_as_addresses_that_would_go() -> None:
    held = held_by("file", "address,aliases\nann@example.com,a@example.com\n")
    with pytest.raises(Conflict):
        plan_import("address\nann@example.com\n", "file", held, DOMAINS, force=False)


def test_what_another_source_still_lists_does_not_count_as_removed() -> None:
    held = held_by("file", people(10)) | held_by("import", people(10))
    assert plan_import("address\n", "file", held, DOMAINS, force=False).removed == ()


def test_a_group_member_nobody_knows_is_a_warning() -> None:
    plan = plan_import(
        "address,kind,members\nall@example.com,group,ann@example.com x@example.org\n", "file", {}, DOMAINS, force=False
    )
    assert plan.warnings == (
        "all@example.com: its member ann@example.com is not in the directory and gets no copy here",
    )


def test_segments_that_differ_in_case_are_a_warning() -> None:
    text = "address,segment\na@example.com,London\nb@example.com,leeds\nc@example.com,london\n"
    plan = plan_import(text, "file", {}, DOMAINS, force=False)
    assert plan.warnings == ("The segments 'London' and 'london' differ only in case and count as two",)


def test_a_group_is_expanded_to_mailboxes_once_whatever_its_shape() -> None:
    text = (
        "address,kind,aliases,members\n"
        "ann@example.com,,a@example.com,\n"
        "desk@example.com,shared,,ann@example.com\n"
        "inner@example.com,group,,all@example.com a@example.com desk@example.com\n"
        "all@example.com,group,,inner@example.com ann@example.com out@example.org\n"
    )
    entries = plan_import(text, "file", {}, DOMAINS, force=False).entries
    snapshot = make_snapshot(entries, DOMAINS, None, "+")
    assert snapshot.copies_for("all@example.com") == ("ann@example.com", "desk@example.com")


def test_a_tagged_address_and_an_alias_resolve_to_the_mailbox() -> None:
    entries = plan_import("address,aliases\nann@example.com,a@example.com\n", "file", {}, DOMAINS, force=False).entries
    snapshot = make_snapshot(entries, DOMAINS, None, "+")
    for written in ("Ann@Example.com", "A+news@example.com", '"ann"@example.com'):
        found = snapshot.resolve(parse_address(written))
        assert found is not None
        assert found.address == "ann@example.com"
    assert make_snapshot(entries, DOMAINS, None, None).resolve(parse_address("a+news@example.com")) is None


def test_a_first_import_that_takes_the_aliases_of_another_source_is_refused_with_a_share() -> None:
    held = held_by("file", "address,aliases\np1@example.com,p2@example.com\np3@example.com,p4@example.com\n")
    with pytest.raises(Conflict, match=r"would remove 1 of 2 addresses \(50 %\): p2@example\.com"):
        plan_import("address\np1@example.com\n", "import", held, DOMAINS, force=False)
    assert plan_import("address\np1@example.com\n", "import", held, DOMAINS, force=True).removed == ("p2@example.com",)


def test_the_share_that_an_import_would_remove_is_never_more_than_everything() -> None:
    held = held_by("file", "address,aliases\np1@example.com,p2@example.com p3@example.com\n")
    held |= held_by("import", "address\np4@example.com\n")
    with pytest.raises(Conflict, match=r"would remove 3 of 4 addresses \(75 %\)"):
        plan_import("address\np1@example.com\n", "import", held, DOMAINS, force=False)
