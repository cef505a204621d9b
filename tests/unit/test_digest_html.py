"""HTML from strangers: what is left of it runs nothing, loads nothing, and still says the same."""

from __future__ import annotations

import pytest

from stormsail.digest.safe_html import SafeHtml, crude_text, text_of, too_deep

REMOTE = "https://tracker.example/pixel.gif"


@pytest.fixture
def safe() -> SafeHtml:
    return SafeHtml()


@pytest.mark.parametrize(
    "source",
    [
        f'<img src="{REMOTE}">',
        f'<img src=" \t{REMOTE}">',
        f'<img srcset="{REMOTE} 2x">',
        f'<div style="background-image:url({REMOTE})">x</div>',
        f'<div style="background-color:url({REMOTE})">x</div>',
        f'<table background="{REMOTE}"><tr><td>x</td></tr></table>',
        f'<link rel="stylesheet" href="{REMOTE}">',
        f"<style>@import url({REMOTE});</style>",
        f'<iframe src="{REMOTE}"></iframe>',
        f'<video poster="{REMOTE}"></video>',
        f'<svg><image href="{REMOTE}"/></svg>',
        f'<object data="{REMOTE}"></object>',
        f'<base href="{REMOTE}">',
        f'<meta http-equiv="refresh" content="0;url={REMOTE}">',
    ],
)
def test_nothing_is_loaded_from_elsewhere(safe: SafeHtml, source: str) -> None:
    assert "tracker" not in safe.clean(source)


@pytest.mark.parametrize(
    "source",
    [
        "<script>alert(1)</script>",
        '<a href="javascript:alert(1)">x</a>',
        '<a href="java\tscript:alert(1)">x</a>',
        '<a href="da\nta:text/html,<script>alert(1)</script>">x</a>',
        '<img src="data:image/svg+xml,<svg onload=alert(1)>">',
        '<p onclick="alert(1)">x</p>',
        '<form action="https://x.example"><input name="alert"></form>',
        "<svg><script>alert(1)</script></svg>",
        "<math><mtext><table><mglyph><style><!--</style><img title='--><img src=1 onerror=alert(1)>'>",
    ],
)
def test_nothing_runs(safe: SafeHtml, source: str) -> None:
    cleaned = safe.clean(source)
    assert "alert(1)" not in cleaned.replace("title=", "") or "onerror" not in cleaned
    assert not any(
        word in cleaned for word in ("<script", "javascript:", "onclick", "data:", "<form", "<input", "<svg")
    )


def test_remote_images_are_counted_and_inner_ones_stay(safe: SafeHtml) -> None:
    cleaned = safe.clean(f'<img src="{REMOTE}"><img src="{REMOTE}" alt="a"><img src="cid:logo@x">')
    assert safe.remote_images == 2
    assert 'src="cid:logo@x"' in cleaned
    safe.clean("<p>none</p>")
    assert safe.remote_images == 0


def test_links_open_elsewhere_and_tell_nothing(safe: SafeHtml) -> None:
    cleaned = safe.clean('<a href="https://x.example/a">x</a>')
    assert 'rel="noopener noreferrer"' in cleaned
    assert 'target="_blank"' in cleaned


def test_colours_and_tables_of_a_newsletter_survive(safe: SafeHtml) -> None:
    cleaned = safe.clean(
        '<table width="600" bgcolor="#eee"><tr><td style="color:red;position:fixed">x</td></tr></table>'
    )
    assert 'width="600"' in cleaned
    assert "color:red" in cleaned
    assert "position" not in cleaned


def test_nesting_beyond_all_reason_is_not_looked_at(safe: SafeHtml) -> None:
    assert safe.clean("<div>" * 30_000) == ""
    assert too_deep("<b id=1><!--</b>-->" * 6_000)
    assert not too_deep("<div><p>text</div>" * 10_000)
    assert not too_deep("<!-- <div> -->" * 10_000)


def test_text_keeps_the_lines_that_blocks_make() -> None:
    assert text_of('<p>one</p><p title="a>b">two<br>three</p><table><tr><td>1</td><td>2</td></tr></table>') == (
        "one\n\ntwo\nthree\n\n1 2"
    )


def test_text_of_what_nobody_parses_has_no_scripts() -> None:
    assert crude_text("<style>p{}</style><div>Hello<script>evil()</script> &amp; good bye") == "Hello & good bye"
