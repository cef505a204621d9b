"""What a message shows: its parts in order, its text, its HTML, and what is to be downloaded.

In: a parsed message. Out: the body structure and the texts. Alternatives show their best form, everything else is
shown one after the other (RFC 2046 §5.1.3, §5.1.4; RFC 3462's delivery status counts as text). May raise anything in
parsing.HOSTILE; depth is limited here, numbers in parsing.
"""

from __future__ import annotations

import html

import msgspec

from .characters import clean_text
from .fields import read_line, safe_file_name
from .parsing import Part
from .protocol import PartNode
from .safe_html import SafeHtml, crude_text, text_of

DEPTH_LIMIT = 60
TEXT_LIMIT = 512 * 1024
"""Characters shown of the text, and of the HTML before it is made safe twice as many."""
INLINE_TYPES = frozenset({"text/plain", "text/html", "message/delivery-status", "text/rfc822-headers"})
CONTENT_TYPE_LIMIT = 100


class Shown(msgspec.Struct, frozen=True):
    """What one part gives to be read; `plain` and `html` are the same content in two forms, either may be empty."""

    node: PartNode
    plain: str = ""
    html: str = ""
    remote_images: int = 0


class Showing:
    """One message's way from parts to texts; holds what is left of the limit."""

    def __init__(self, cleaner: SafeHtml) -> None:
        self._cleaner = cleaner
        self._left = TEXT_LIMIT
        self.problem = ""

    def show(self, part: Part, number: str = "", depth: int = 0) -> Shown:
        """A part and all in it. `number` is empty for the message itself."""
        if part.children and depth < DEPTH_LIMIT:
            prefix = f"{number}." if number else ""
            shown = [self.show(child, f"{prefix}{at}", depth + 1) for at, child in enumerate(part.children, 1)]
            node = PartNode(number, cut_type(part), parts=tuple(one.node for one in shown))
            if part.declared_type == "multipart/alternative":
                return _best_of(node, shown)
            return _all_of(node, shown)
        if part.children:
            self.problem = "The message is nested too deeply to be shown whole"
        return self._leaf(part, number or "1", depth)

    def _leaf(self, part: Part, number: str, depth: int) -> Shown:
        inline = _is_inline(part)
        node = _describe(part, number, attachment=not inline and not part.children)
        if not inline or self._left <= 0:
            return Shown(node)
        if cut_type(part) == "text/html":
            return self._html_leaf(part, node)
        text = clean_text(part.text(self._left), self._left)
        self._left -= len(text)
        return Shown(node, plain=text)

    def _html_leaf(self, part: Part, node: PartNode) -> Shown:
        source = part.text(2 * self._left)
        safe = self._cleaner.clean(source)
        if safe:
            safe = clean_text(safe, len(safe))
            self._left -= min(self._left, len(safe) // 4)
            return Shown(node, html=safe, remote_images=self._cleaner.remote_images)
        if source.strip():
            self.problem = "The HTML of the message is nested too deeply to be shown; this is its text"
        text = clean_text(crude_text(source), self._left)
        self._left -= len(text)
        return Shown(node, plain=text)


def _is_inline(part: Part) -> bool:
    """Whether a leaf is text to be read rather than something to download."""
    kind = cut_type(part)
    if part.disposition == "attachment":
        return False
    if kind.startswith("multipart/"):
        return not part.children
    return kind in INLINE_TYPES and not (part.file_name and part.disposition == "inline" and kind != "text/plain")


def _describe(part: Part, number: str, *, attachment: bool) -> PartNode:
    source = part.source
    kind = cut_type(part)
    name = part.file_name
    return PartNode(
        number,
        kind,
        charset=part.charset[:40],
        encoding=read_line(part.encoding, 40),
        octets=len(source),
        lines=source.count("\n") + (1 if source and not source.endswith("\n") else 0),
        content_id=read_line(part.value("content-id"), 300).strip("<>"),
        description=read_line(part.value("content-description"), 300),
        disposition=part.disposition,
        file_name=safe_file_name(name, number, kind) if name or attachment else "",
        attachment=attachment,
        size=_decoded_size(part),
    )


def _decoded_size(part: Part) -> int:
    """Octets once decoded; base64 is counted, not decoded."""
    source = part.source
    if part.encoding != "base64":
        return len(part.octets())
    used = len(source) - source.count("\r") - source.count("\n") - source.count(" ")
    return max(0, used * 3 // 4 - source[-8:].count("="))


def cut_type(part: Part) -> str:
    """The content type, short enough to be stored."""
    return read_line(part.declared_type, CONTENT_TYPE_LIMIT)


def _best_of(node: PartNode, shown: list[Shown]) -> Shown:
    """multipart/alternative: the last HTML, the first text."""
    plain = next((one.plain for one in shown if one.plain.strip()), "")
    best = next((one for one in reversed(shown) if one.html), None)
    if best is None:
        return Shown(node, plain=plain)
    return Shown(node, plain=plain, html=best.html, remote_images=best.remote_images)


def _all_of(node: PartNode, shown: list[Shown]) -> Shown:
    """Everything else: one after the other, in both forms where one of them has HTML."""
    plain = "\n\n".join(text for text in (one.plain or text_of(one.html) for one in shown) if text)
    images = sum(one.remote_images for one in shown)
    if not any(one.html for one in shown):
        return Shown(node, plain=plain)
    rich = [one.html or (f"<pre>{html.escape(one.plain)}</pre>" if one.plain else "") for one in shown]
    return Shown(node, plain=plain, html="<hr>".join(piece for piece in rich if piece), remote_images=images)


def find_leaf(message: Part, number: str) -> Part | None:
    """The leaf with that number, as `show` counts."""
    wanted = number.split(".")
    part = message
    if not message.children:
        return message if number == "1" else None
    for step in wanted[:DEPTH_LIMIT]:
        if not step.isascii() or not step.isdigit() or not 1 <= int(step[:9]) <= len(part.children):
            return None
        part = part.children[int(step) - 1]
    return part if not part.children else None
