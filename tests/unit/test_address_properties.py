"""Addresses, whatever they are made of: taken apart and put together again, or BadAddress (RFC 5321 §4.1.2, RFC 5891)."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stormsail.domain.address import Address, normal_domain, parse_address, show_domain
from stormsail.domain.errors import BadAddress

ANYTHING = st.text(st.characters(exclude_categories=()), max_size=200)
"""Surrogates too: they stand for octets that were no UTF-8."""
PIECES = st.lists(
    st.sampled_from(["@", ".", '"', "\\", "[", "]", "IPv6:", ":", ",", "<", ">", "(", ")", " ", "a", "Ann", "example.com",
                     "xn--", "xn--bcher-kva", "ü", "İ", "ß", "。", "\u200d", "\ud800", "\0", "\r\n", "1.2.3.4", "-", "_", "+"])
).map("".join)  # fmt: skip
ATOM = st.text(st.sampled_from("abcXYZ019!#$%&'*+/=?^_`{|}~-éжß"), min_size=1, max_size=8)
DOT_ATOM = st.lists(ATOM, min_size=1, max_size=3).map(".".join)
QUOTED = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
LABEL = st.text(st.sampled_from("abcxyz019"), min_size=1, max_size=10)
DOMAIN = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join), st.sampled_from(["[192.0.2.1]", "[IPv6:2001:db8::1]"])
)
MAILBOXES = st.builds(Address, st.one_of(DOT_ATOM, QUOTED), DOMAIN)


@given(st.one_of(ANYTHING, PIECES))
@example("a@" + "." * 300)
@example("a@" + "ü" * 300)
@example("a@xn--" + "a" * 60)
@example("\ud800@example.com")
@settings(max_examples=1000, deadline=None)
def test_nothing_but_bad_address_is_ever_raised(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert parse_address(str(address)) == address
    assert address.domain.isascii()
    assert not any(ord(letter) < 32 or letter in "\x7f<>" for letter in address.domain)
    assert not any(ord(letter) < 32 or ord(letter) == 127 for letter in str(address))


@given(MAILBOXES)
def test_an_address_survives_being_written_and_read(address: Address) -> None:
    assert parse_address(str(address)) == address


@given(MAILBOXES)
def test_the_form_for_comparing_is_an_address_with_the_same_form(address: Address) -> None:
    again = parse_address(address.key)
    assert again.key == address.key
    assert parse_address(str(address).upper() if address.ascii and "[" not in address.domain else str(address)).key == (
        address.key
    )


@given(MAILBOXES, st.sampled_from(["+", "-", "="]))
def test_an_address_without_its_tag_is_an_address_without_tag(address: Address, delimiter: str) -> None:
    bare = address.without_tag(delimiter)
    assert bare.domain == address.domain
    assert address.local.startswith(bare.local)
    assert bare.without_tag(delimiter) == bare
    assert parse_address(str(bare)) == bare


@given(st.one_of(ANYTHING, PIECES))
@settings(max_examples=500, deadline=None)
def test_a_domain_has_one_form_or_none_and_can_be_shown(text: str) -> None:
    assert isinstance(show_domain(text), str)
    try:
        domain = normal_domain(text)
    except BadAddress:
        return
    assert normal_domain(domain) == domain
    assert isinstance(show_domain(domain), str)
