"""From where a request really comes: only our own proxies are believed."""

from __future__ import annotations

from typing import Any, cast

import pytest
from litestar.types import Scope

from stormsail.http.entrance import segments_kept
from stormsail.http.sign_in import client_address

PROXIES = ["127.0.0.1", "10.0.0.0/8"]


def scope(peer: str, *forwarded: str) -> Scope:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return cast("Scope", dict[str, Any](type="http", client=(peer, 4711), headers=headers))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("198.51.100.7", (), "198.51.100.7"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.7",), "198.51.100.7"),
        ("198.51.100.7", ("192.0.2.1",), "198.51.100.7"),
        ("127.0.0.1", ("192.0.2.1, 198.51.100.7",), "198.51.100.7"),
        ("127.0.0.1", ("192.0.2.1", "198.51.100.7, 10.1.2.3"), "198.51.100.7"),
        ("127.0.0.1", ("not an address",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.7, junk",), "127.0.0.1"),
        ("127.0.0.1", ("2001:db8::1",), "2001:db8::1"),
    ],
)
def test_the_last_address_that_is_none_of_our_proxies_counts(
    peer: str, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(scope(peer, *forwarded), PROXIES) == expected


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        (b"/api/v1/mailboxes/ann%40example.com/messages", "/api/v1/mailboxes/ann@example.com/messages"),
        (b"/api/v1/mailboxes/a%2Fb%40example.com/messages", "/api/v1/mailboxes/a%2Fb@example.com/messages"),
        (b"/a/b", "/a/b"),
        (b"/%C3%BC", "/ü"),
    ],
)
def test_a_slash_inside_a_segment_stays_there(raw: bytes, path: str) -> None:
    assert segments_kept(raw) == path
