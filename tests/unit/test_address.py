"""Addresses by RFC 5321 §4.1.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stormsail.domain.address import Address, parse_address
from stormsail.domain.errors import BadAddress


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("ann@example.com", "ann", "example.com"),
        ("Ann.Lee+news@EXAMPLE.com", "Ann.Lee+news", "example.com"),
        ('"ann lee"@example.com', "ann lee", "example.com"),
        ('"a\\"b@c"@example.com', 'a"b@c', "example.com"),
        ("ann@example.com.", "ann", "example.com"),
        ("ann@[192.0.2.1]", "ann", "[192.0.2.1]"),
        ("ann@[IPv6:2001:db8::1]", "ann", "[IPv6:2001:db8::1]"),
        ("ann@bücher.example", "ann", "xn--bcher-kva.example"),
        ("@a.example,@b.example:ann@example.com", "ann", "example.com"),
        ("user%other.example@example.com", "user%other.example", "example.com"),
        ("jörg@example.com", "jörg", "example.com"),
    ],
)
def test_an_address_is_taken_apart(text: str, local: str, domain: str) -> None:
    assert parse_address(text) == Address(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "", "ann", "@example.com", "ann@", "a b@example.com", "ann@exa mple.com", "ann@-example.com", "ann@example..com",
        ".ann@example.com", "ann.@example.com", "a..b@example.com", '"ann@example.com', "ann@example.com\r\nRCPT TO:<x@y>",
        "ann\0@example.com", "ann@[1.2.3]", "ann@[example]", "<ann@example.com>", "ann@b@example.com", "a" * 70 + "@example.com",
        "ann@" + "a" * 64 + ".com", "ann(comment)@example.com", "ann,bob@example.com", "ann@example.com>",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadAddress):
        parse_address(text)


def test_a_local_part_that_needs_quotes_is_written_with_them() -> None:
    assert str(parse_address('"ann lee"@example.com')) == '"ann lee"@example.com'
    assert str(parse_address('"ann"@example.com')) == "ann@example.com"


def test_addresses_are_compared_without_case_and_without_their_tag() -> None:
    address = parse_address("Ann.Lee+News@Example.com")
    assert address.key == "ann.lee+news@example.com"
    assert address.without_tag().key == "ann.lee@example.com"
    assert parse_address("+news@example.com").without_tag().key == "+news@example.com"


@given(st.text(max_size=80))
def test_whatever_is_parsed_is_parsed_the_same_again(text: str) -> None:
    try:
        address = parse_address(text)
    except BadAddress:
        return
    assert parse_address(str(address)) == address
    assert "\r" not in str(address)
    assert "\n" not in str(address)
