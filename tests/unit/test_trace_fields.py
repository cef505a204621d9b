"""Our own trace fields, and looking at a header without believing it."""

import pytest

from stormsail.domain.errors import BadContent
from stormsail.domain.ids import IdGenerator, id_from_text, id_to_text
from stormsail.domain.routing import Direction
from stormsail.intake import HeaderCheck
from stormsail.mail.fields import addresses_in, names_host, scan_header
from stormsail.mail.trace import TracePass, read_trace, received_line, trace_line

SECRET = b"s" * 32


def test_a_pass_that_we_wrote_is_read_again() -> None:
    line = trace_line(SECRET, 12345678, Direction.CONNECTOR)
    assert read_trace(SECRET, line.partition(": ")[2].encode()) == TracePass(12345678, Direction.CONNECTOR)


def test_a_pass_with_another_secret_door_or_form_is_nobodys() -> None:
    value = trace_line(SECRET, 12345678, Direction.MX).partition(": ")[2]
    for wrong in (value.replace("mx", "connector"), value[:-1] + "x", "v1; x", "", value + "; more", "\xe9" * 40):
        assert read_trace(SECRET, wrong.encode()) is None
    assert read_trace(b"t" * 32, value.encode()) is None


def test_only_passes_with_a_valid_signature_keep_their_name() -> None:
    good = trace_line(SECRET, 7, Direction.MX).encode()
    content = (
        good
        + b"\r\nStormsail-Trace : v1; x; mx; y\r\nstormsail-anything: z\r\nSubject: s\r\n\r\nStormsail-Trace: body\r\n"
    )
    changed, facts = HeaderCheck(SECRET, "mx.example.com", frozenset())(content)
    assert facts.passes == (TracePass(7, Direction.MX),)
    assert facts.altered
    assert changed == content.replace(b"Stormsail-Trace :", b"X-Original-Stormsail-Trace :").replace(
        b"stormsail-anything", b"X-Original-stormsail-anything"
    )


def test_a_message_without_forged_fields_is_left_as_it_is() -> None:
    content = b"Authentication-Results: other.example; spf=pass\r\nFrom: a@example.org\r\n\r\nx\r\n"
    changed, facts = HeaderCheck(SECRET, "mx.example.com", frozenset())(content)
    assert changed is content
    assert not facts.altered


def test_a_peer_cannot_write_its_own_received_field() -> None:
    line = received_line(
        helo="evil\r\nX-Injected: yes) (\x1b[31m", peer="192.0.2.1", hostname="mx.example.com", protocol="ESMTP",
        message_id=1, date="today", recipient=None,
    )  # fmt: skip
    assert all(part[:1] in ("R", "\t") for part in line.split("\r\n"))
    assert line.replace("\r\n", "").replace("\t", "").isprintable()


def test_folded_and_spaced_fields_are_found_with_their_whole_value() -> None:
    header = scan_header(
        b"x-MARK :\r\n one\r\n\ttwo\r\nReceived: a\r\nReceived\t: b\r\n\r\nx-mark: body", frozenset({b"x-mark"})
    )
    assert header.values(b"x-mark") == [b"one\ttwo"]
    assert header.received == 2


def test_addresses_of_a_from_field_are_found_in_all_its_forms() -> None:
    value = b'"Lee, Ann" <ann@example.com>, bob@example.com (Bob), Staff: carl@example.com;, "x <y@z>" <d@example.com>, <>, junk'
    assert [str(one) for one in addresses_in(value)] == [
        "ann@example.com", "bob@example.com", "carl@example.com", "d@example.com",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        b"mx.example.com; spf=pass", b" (we) MX.example.com 1; spf=pass", b"(a;b) mx.example.com; spf=pass",
        b"(n (c)) mx.example.com; spf=pass", b'"mx\\.example.com"; spf=pass', b"mx.example.com/1; spf=pass",
        b"mx.example.com.; spf=pass",
    ],
)  # fmt: skip
def test_results_in_our_name_are_known_however_they_are_written(value: bytes) -> None:
    assert names_host(value, "mx.example.com")


@pytest.mark.parametrize(
    "value", [b"", b"other.example; spf=pass", b"smx.example.com; spf=pass", b"mx.example.com.evil.net; a=b"]
)
def test_results_in_other_names_are_left(value: bytes) -> None:
    assert not names_host(value, "mx.example.com")


def test_a_header_beyond_all_measure_is_refused() -> None:
    for monster in (b"from:\r\n" * 1001, b"A:\r\n" * 200_001):
        with pytest.raises(BadContent):
            HeaderCheck(SECRET, "mx.example.com", frozenset())(monster + b"\r\n")


def test_a_value_that_was_cut_equals_nothing() -> None:
    header = scan_header(b"X-Mark: a\r\n" + b" " * 70_000 + b"\r\n .evil\r\n\r\n", frozenset({b"x-mark"}))
    assert header.values(b"x-mark") != [b"a"]


def test_ids_grow_whatever_the_clock_does_and_can_be_written() -> None:
    ids = IdGenerator()
    given = [ids.next(now) for now in (1_700_000_000_000, 1_700_000_000_000, 1_600_000_000_000, 1_700_000_000_001)]
    assert given == sorted(set(given))
    assert [id_from_text(id_to_text(one)) for one in given] == given
    assert id_from_text("not an id") is None
