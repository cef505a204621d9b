"""HTML from strangers made safe to show, and turned into text (nh3, which is ammonia and html5ever).

In: decoded HTML. Out: HTML that runs and loads nothing, with the number of remote images left out; text with line
ends where blocks end. nh3 is quadratic in nesting: the source is cut, and refused (empty result) beyond a number of
tags or a depth that no honest message has. Never raises by itself; nh3 may end the process on what it cannot hold.
"""

from __future__ import annotations

import html
import re

import nh3

SOURCE_LIMIT = 1 << 20
DEPTH_LIMIT = 256
TAGS_LIMIT = 40_000
CHEAP_TAGS = 5_000
"""So few tags cost nothing even when each is inside the other."""
TAG = re.compile(r"<!--(?:-?>|.*?(?:--!?>|\Z))|<(/?)([a-zA-Z][^\s/>]*)", re.DOTALL)
CLEAN_TAG = re.compile(r'<(/?)([a-z][a-z0-9]*)[^>"]*(?:"[^"]*"[^>"]*)*>')
ANY_TAG = re.compile(r"<[^<>]*>")
NOT_NESTING_LISTED = (
    "area base br col embed hr img input link meta source track wbr p li dt dd td th tr thead tbody tfoot "
    "option optgroup colgroup rt rp html head body"
)
NOT_NESTING = frozenset(NOT_NESTING_LISTED.split())
"""Empty elements, and those whose end is implied by what follows."""
UNSHOWN = ("script", "style", "title", "noscript", "template", "xmp", "iframe")
BLOCKS_LISTED = (
    "address article aside blockquote br caption center dd details div dl dt figcaption figure footer h1 h2 h3 "
    "h4 h5 h6 header hr li ol p pre section summary table tr ul"
)
BLOCKS = frozenset(BLOCKS_LISTED.split())
CELLS = frozenset({"td", "th"})
STYLES_LISTED = (
    "background-color border border-bottom border-collapse border-color border-left border-radius border-right "
    "border-spacing border-style border-top border-width color font-family font-size font-style font-weight "
    "height letter-spacing line-height list-style-type margin margin-bottom margin-left margin-right "
    "margin-top max-width min-width padding padding-bottom padding-left padding-right padding-top text-align "
    "text-decoration text-indent text-transform vertical-align white-space width"
)
STYLES = frozenset(STYLES_LISTED.split())
LAYOUT = frozenset({"align", "valign", "width", "height", "bgcolor", "border", "cellpadding", "cellspacing"})
SHOWN_IMAGES = ("cid:", "data:image/png;", "data:image/jpeg;", "data:image/gif;", "data:image/webp;")
NOT_IN_URL = re.compile(r"[\x00-\x20]+")
"""What a browser ignores in an address, wherever it stands."""
MANY_LINE_ENDS = re.compile(r"\n[ \t]*\n\s*\n")
UNSHOWN_START = re.compile(r"<(script|style|title)[\s>]")
BLANKS = re.compile(r"[ \t\r\n\f]+")


class SafeHtml:
    """Sanitises one message's HTML after the other; `remote_images` counts what was left out of the current one."""

    def __init__(self) -> None:
        self.remote_images = 0
        self._cleaner = nh3.Cleaner(
            tags=(nh3.ALLOWED_TAGS | {"font", "section", "main", "address", "dir", "big"}) - {"map", "area"},
            clean_content_tags=set(UNSHOWN),
            attributes=_attributes(),
            attribute_filter=self._filter,
            link_rel="noopener noreferrer",
            set_tag_attribute_values={"a": {"target": "_blank"}},
            url_schemes={"http", "https", "mailto", "tel", "cid", "data"},
            url_relative="deny",
            filter_style_properties=set(STYLES),
        )

    def clean(self, source: str) -> str:
        """Safe HTML; empty where the source is too deep to be looked at."""
        self.remote_images = 0
        source = source[:SOURCE_LIMIT]
        return "" if too_deep(source) else self._cleaner.clean(source)

    def _filter(self, tag: str, attribute: str, value: str) -> str | None:
        bare = NOT_IN_URL.sub("", value).lower()
        if attribute == "src":
            if bare.startswith(SHOWN_IMAGES):
                return value
            self.remote_images += 1
            return None
        if attribute == "href" and bare.startswith(("data:", "cid:")):
            return None
        return None if attribute == "style" and "(" in value and "url" in value.lower() else value


def _attributes() -> dict[str, set[str]]:
    attributes = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
    for tag in ("table", "td", "th", "tr", "img", "tbody", "div", "p"):
        attributes[tag] = attributes.get(tag, set()) | LAYOUT
    attributes["font"] = {"color", "face", "size"}
    attributes["*"] = attributes.get("*", set()) | {"style", "dir", "lang", "title"}
    for tag in ("q", "blockquote", "del", "ins"):
        attributes[tag] = attributes.get(tag, set()) - {"cite"}
    return attributes


def too_deep(source: str) -> bool:
    """Whether the source has so many tags, or unclosed ones, that nh3 would take long. An estimate; linear."""
    open_tags: dict[str, int] = {}
    depth = tags = 0
    for match in TAG.finditer(source):
        name = (match[2] or "").lower()
        if not name:
            continue
        tags += 1
        if tags > TAGS_LIMIT:
            return True
        if name in NOT_NESTING:
            continue
        count = open_tags.get(name, 0)
        if not match[1]:
            open_tags[name] = count + 1
            depth += 1
        elif count:
            open_tags[name] = count - 1
            depth -= 1
        if depth > DEPTH_LIMIT and tags > CHEAP_TAGS:
            return True
    return depth > DEPTH_LIMIT and tags > CHEAP_TAGS


def text_of(clean: str) -> str:
    """The text of sanitised HTML."""
    pieces: list[str] = []
    end = 0
    for tag in CLEAN_TAG.finditer(clean):
        pieces.append(BLANKS.sub(" ", clean[end : tag.start()]))
        if tag[2] in BLOCKS:
            pieces.append("\n")
        elif tag[2] in CELLS and tag[1]:
            pieces.append(" ")
        end = tag.end()
    pieces.append(BLANKS.sub(" ", clean[end:]))
    lines = (line.strip() for line in html.unescape("".join(pieces)).split("\n"))
    return MANY_LINE_ENDS.sub("\n\n", "\n".join(lines)).strip()


def crude_text(source: str) -> str:
    """Text of HTML that nobody dares to parse: everything between angle brackets dropped, scripts with content."""
    lowered = source.lower()
    pieces: list[str] = []
    position = 0
    while position < len(source):
        start, name = _next_unshown(lowered, position)
        pieces.append(source[position:start])
        if start == len(source):
            break
        close = lowered.find(f"</{name}", start)
        position = len(source) if close < 0 else close
    bare = ANY_TAG.sub(" ", "".join(pieces))
    return BLANKS.sub(" ", html.unescape(bare)).strip()


def _next_unshown(lowered: str, position: int) -> tuple[int, str]:
    """Where the next script or style begins, and which it is; the end of the source where none does."""
    found = UNSHOWN_START.search(lowered, position)
    return (found.start(), found[1]) if found is not None else (len(lowered), "")
